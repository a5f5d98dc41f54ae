import { StableDiffusion } from 'wordbrush';

const status = document.querySelector('[role=status]');
try {
  const sd = await StableDiffusion.load('shapes.safetensors');
  const embedding = await (await fetch('teal-star.pt')).blob();
  await sd.addEmbedding(embedding, { name: 'teal-star.pt' });
  const picture = sd.generate({ prompt: 'a embedding:teal-star on a white background', steps: 3, cfg: 2, width: 64, height: 64, seed: 2032 });
  for await (const event of picture) {
    if (event.type === 'step') status.textContent = `${event.step} of ${event.steps}`;
  }
  document.querySelector('img').src = URL.createObjectURL((await picture).png);
  await sd.dispose();
  status.textContent = 'done';
} catch (error) {
  status.textContent = `${error.code}: ${error.message}`;
}
