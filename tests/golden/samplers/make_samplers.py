"""Step-by-step tables of samplers, schedules and noise by the libraries that other tools use, for tests/samplers.rs.

    python make_samplers.py [--deis solver_utils.py]

writes samplers.json beside itself. Made with torch 2.15.0 (CPU), k-diffusion 0.1.1.post1, torchsde 0.2.6, diffusers 0.42.1,
numpy 2.4.6, scipy 1.17.1; `pip install --no-deps k-diffusion torchsde trampoline` is enough,
for of k-diffusion only sampling.py is imported. --deis is gits-main/solver_utils.py of zju-pi/diff-sampler (Apache-2.0), which
is no package; without it the old DEIS rows are kept.

Most tables are in f64, so that they check formulas and not rounding: the tests hold them to 1e-9 of the largest number. Where
a library calculates in f32 whatever it is given (DEIS, Brownian paths, the f32 runs), the tests say their tolerance there.
"""

import argparse
import importlib.util
import json
import math
import pathlib
import sys
import types

import numpy as np
import torch
from scipy import stats

HERE = pathlib.Path(__file__).parent


def k_diffusion_sampling():
    """k_diffusion.sampling alone: the package's other modules want half of PyPI."""
    spec = importlib.util.find_spec("k_diffusion")
    folder = pathlib.Path(spec.submodule_search_locations[0])
    package = types.ModuleType("k_diffusion")
    package.__path__ = [str(folder)]
    utils = types.ModuleType("k_diffusion.utils")
    utils.append_dims = lambda x, dims: x[(...,) + (None,) * (dims - x.ndim)]
    package.utils = utils
    odeint = types.ModuleType("torchdiffeq")
    odeint.odeint = None
    sys.modules.update({"k_diffusion": package, "k_diffusion.utils": utils, "torchdiffeq": odeint})
    spec = importlib.util.spec_from_file_location("k_diffusion.sampling", folder / "sampling.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


K = k_diffusion_sampling()

# The noise levels of SD 1.5, as ComfyUI and compat_vectors.json have them.
BETAS = np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
TABLE = np.sqrt((1 - np.cumprod(1 - BETAS)) / np.cumprod(1 - BETAS)).astype(np.float32)
START = [0.7, -1.3, 0.4]
COUNTS = [1, 2, 3, 5, 10, 20, 50]


def denoiser(x, sigma):
    """The toy network: bounded, not linear, and different at each noise level."""
    return 0.8 * torch.tanh(x / (1 + sigma)) + 0.1 * x / (1 + sigma**2) + 0.05


def noise(k, x):
    """The toy noise of draw k."""
    e = torch.arange(x.numel(), dtype=torch.float64)
    return (1.5 * torch.sin(1.3 * (k + 1) + 0.7 * e)).to(x.dtype).reshape(x.shape)


class Draws:
    """A noise sampler, and a torch whose randn_like it answers."""

    def __init__(self):
        self.k = -1

    def __call__(self, *_):
        self.k += 1
        return noise(self.k, self.x)

    def randn_like(self, x):
        self.x = x
        return self()

    def __getattr__(self, name):
        return getattr(torch, name)


def schedule(steps, denoise):
    """normal and karras by turns; with denoise < 1 the end of a longer one."""
    n = steps if denoise == 1 else int(steps / denoise)
    if steps in (1, 3, 10, 50):
        t = torch.linspace(999, 0, n)
        low = t.floor().long()
        high = (low + 1).clamp(max=999)
        logs = torch.from_numpy(TABLE).log()
        sigmas = K.append_zero(((1 - t.frac()) * logs[low] + t.frac() * logs[high]).exp())
    else:
        sigmas = K.get_sigmas_karras(n, float(TABLE[0]), float(TABLE[-1]))
    return sigmas[-(steps + 1) :]


# Made before anything sets another default type: they are f32.
SCHEDULES = {(n, d): schedule(n, d) for n in COUNTS for d in (1, 0.6)}


def numbers(values):
    return [float(f"{float(v):.13g}") for v in values]


def exact(values):
    """f32 as they are."""
    return [float(v) for v in values]


def run(name, sigmas, dtype=torch.float64, **kwargs):
    """The latents after each step of a sampler of k-diffusion."""
    x = torch.tensor([START], dtype=dtype) * sigmas[0].to(dtype)
    rows, draws = [], Draws()
    draws.x = x
    if name in ("dpmpp_sde", "dpmpp_2m_sde", "dpmpp_3m_sde") or "ancestral" in name:
        kwargs["noise_sampler"] = draws
    K.torch = draws
    model = lambda x, sigma, **_: denoiser(x, sigma[:, None])
    after = lambda info: rows.append(info["x"][0].clone()) if info["i"] > 0 else None
    x = getattr(K, "sample_" + name)(model, x, sigmas.to(dtype), callback=after, disable=True, **kwargs)
    K.torch = torch
    return rows + [x[0]]


# Our name, k-diffusion's, settings of both.
SAMPLERS = [
    ("euler", "euler", {}),
    ("euler", "euler", {"s_churn": 5.0, "s_tmin": 0.1, "s_tmax": 10.0, "s_noise": 1.003}),
    ("euler_ancestral", "euler_ancestral", {}),
    ("euler_ancestral", "euler_ancestral", {"eta": 0.5, "s_noise": 0.9}),
    ("heun", "heun", {}),
    ("heun", "heun", {"s_churn": 40.0, "s_tmin": 0.05, "s_tmax": 12.0, "s_noise": 1.01}),
    ("dpm_2", "dpm_2", {}),
    ("dpm_2", "dpm_2", {"s_churn": 3.0, "s_tmin": 0.2, "s_tmax": 1000.0, "s_noise": 1.0}),
    ("dpm_2_ancestral", "dpm_2_ancestral", {}),
    ("lms", "lms", {}),
    ("dpmpp_2s_ancestral", "dpmpp_2s_ancestral", {}),
    ("dpmpp_2s_ancestral", "dpmpp_2s_ancestral", {"eta": 0.3, "s_noise": 1.1}),
    ("dpmpp_sde", "dpmpp_sde", {}),
    ("dpmpp_sde", "dpmpp_sde", {"eta": 0.4, "s_noise": 0.8}),
    ("dpmpp_2m", "dpmpp_2m", {}),
    ("dpmpp_2m_sde", "dpmpp_2m_sde", {}),
    ("dpmpp_2m_sde", "dpmpp_2m_sde", {"eta": 0.4, "s_noise": 0.8}),
    ("dpmpp_2m_sde_heun", "dpmpp_2m_sde", {"solver_type": "heun"}),
    ("dpmpp_3m_sde", "dpmpp_3m_sde", {}),
    ("dpmpp_3m_sde", "dpmpp_3m_sde", {"eta": 0.0}),
]


def k_diffusion_tables():
    tables, rough = [], []
    for ours, theirs, settings in SAMPLERS:
        said = {key: value for key, value in settings.items() if key != "solver_type"}
        for steps in COUNTS:
            for denoise in (1, 0.6):
                # k-diffusion's 2M and 3M read a variable before they set it where the first step is the last.
                if steps == 1 and theirs in ("dpmpp_2m_sde", "dpmpp_3m_sde"):
                    continue
                rows = run(theirs, SCHEDULES[steps, denoise], **settings)
                row = {"sampler": ours, "options": said, "steps": steps, "denoise": denoise}
                tables.append(row | {"x": [numbers(r) for r in rows]})
        last = run(theirs, SCHEDULES[20, 1], torch.float32, **settings)[-1]
        rough.append({"sampler": ours, "options": said, "x": numbers(last)})
    return tables, rough


def latents(scheduler, sigma, x):
    """ε of the toy network for latents of unit variance."""
    x = x * math.sqrt(1 + sigma**2)
    return (x - denoiser(x, sigma)) / sigma


def diffusers_tables():
    """Samplers that k-diffusion lacks; x scaled to picture + σ · noise."""
    import diffusers

    torch.set_default_dtype(torch.float64)
    tables = []
    table = TABLE.astype(np.float64)
    sd15 = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    timed = sd15 | {"steps_offset": 1, "set_alpha_to_one": False}

    def begin(sigma):
        return torch.tensor([START]) * sigma / math.sqrt(1 + sigma**2)

    def scaled(x, sigma):
        return numbers(x[0] * math.sqrt(1 + sigma**2))

    def add(ours, options, levels, rows):
        tables.append({"sampler": ours, "options": options, "sigmas": exact(levels), "x": rows})

    for steps in COUNTS:
        for ours, eta in (("ddim", 0.0), ("ddim", 0.7), ("plms", None)):
            if ours == "plms" and steps == 1:
                continue
            kind = diffusers.PNDMScheduler if ours == "plms" else diffusers.DDIMScheduler
            more = {"skip_prk_steps": True} if ours == "plms" else {"clip_sample": False}
            s = kind(**timed, **more)
            s.alphas_cumprod = torch.from_numpy(1 / (table**2 + 1))
            s.final_alpha_cumprod = s.alphas_cumprod[0]
            s.set_timesteps(steps)
            times = [int(t) for t in s.timesteps]
            visited = sorted(set(times), reverse=True)
            levels = [table[t] for t in visited] + [table[0]]
            x, rows, k = begin(levels[0]), [], 0
            for i, t in enumerate(times):
                eps = latents(s, table[t], x)
                extra = {} if eta is None else {"eta": eta, "variance_noise": noise(k, x) if eta else None}
                x = s.step(eps, t, x, **extra).prev_sample
                k += 1
                # PLMS evaluates twice before its first step is done.
                if ours != "plms" or i != 0:
                    rows.append(scaled(x, levels[len(rows) + 1]))
            add(ours, {} if eta is None else {"eta": eta}, levels, rows)

        for denoise in (1, 0.6):
            levels = SCHEDULES[steps, denoise].double().numpy()
            for ours, kind in (("uni_pc", "bh1"), ("uni_pc_bh2", "bh2")):
                s = diffusers.UniPCMultistepScheduler(**sd15, solver_order=3, solver_type=kind, lower_order_final=True)
                s.set_timesteps(steps)
                s.timesteps = torch.arange(steps)
                reached = np.append(levels[:-1], 0.001)
                s.sigmas = torch.from_numpy(reached)
                s.set_begin_index(0)
                x, rows = begin(levels[0]), []
                for i in range(steps):
                    x = s.step(latents(s, levels[i], x), s.timesteps[i], x).prev_sample
                    rows.append(scaled(x, reached[i + 1]))
                add(ours, {}, levels, rows)

            s = diffusers.IPNDMScheduler()
            s.set_timesteps(steps)
            s.timesteps = torch.arange(steps)
            # Its formulas at α = 1 are those of k-diffusion's latents.
            s.alphas, s.betas = torch.ones(steps + 1), torch.from_numpy(levels)
            s.set_begin_index(0)
            x, rows = torch.tensor([START]) * levels[0], []
            for i in range(steps):
                denoised = denoiser(x, levels[i])
                slope = (x - denoised) / levels[i]
                x = s.step(slope - x * levels[i], s.timesteps[i], x).prev_sample
                # diff-sampler and ComfyUI end with the network's output.
                rows.append(numbers((denoised if levels[i + 1] == 0 else x)[0]))
            add("ipndm", {}, levels, rows)

        s = diffusers.LCMScheduler(**timed, timestep_scaling=1e12)
        s.alphas_cumprod = torch.from_numpy(1 / (table**2 + 1))
        s.set_timesteps(steps, original_inference_steps=50)
        times = [int(t) for t in s.timesteps]
        levels = [table[t] for t in times] + [0.0]
        x, rows = begin(levels[0]), []
        lcm = sys.modules[type(s).__module__]
        for i, t in enumerate(times):
            lcm.randn_tensor = lambda *_, **__: noise(i, x)
            x = s.step(latents(s, table[t], x), t, x).prev_sample
            rows.append(scaled(x, levels[i + 1]))
        add("lcm", {}, levels, rows)
    torch.set_default_dtype(torch.float32)
    return tables


def deis_tables(path):
    spec = importlib.util.spec_from_file_location("solver_utils", path)
    deis = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(deis)
    tables = []
    for steps in COUNTS[1:]:
        for denoise in (1, 0.6):
            levels = SCHEDULES[steps, denoise]
            weights = deis.get_deis_coeff_list(levels, 3, deis_mode="tab")
            x, slopes, rows = torch.tensor(START, dtype=torch.float64) * levels[0].double(), [], []
            for i in range(steps):
                sigma, following = float(levels[i]), float(levels[i + 1])
                slopes.insert(0, (x - denoiser(x, sigma)) / sigma)
                chosen = weights[i] if i > 0 and following > 0 else [following - sigma]
                x = x + sum(float(w.detach() if torch.is_tensor(w) else w) * slope for w, slope in zip(chosen, slopes))
                rows.append(numbers(x))
            tables.append({"sampler": "deis", "options": {}, "steps": steps, "denoise": denoise, "x": rows})
    return tables


def brownian():
    """Draws along karras-10 and half steps of it, in the order of DPM++ SDE."""
    cases = []
    sigmas = K.get_sigmas_karras(10, float(TABLE[0]), float(TABLE[-1]))
    for seed in (0, 42, 2**32 + 42, 2**63 + 5):
        x = torch.zeros(1, 4, 8, 8)
        sampler = K.BrownianTreeNoiseSampler(x, sigmas[sigmas > 0].min(), sigmas.max(), seed=seed)
        draws = []
        for i in range(9):
            middle = (sigmas[i].log().neg() + (sigmas[i].log() - sigmas[i + 1].log()) * 0.5).neg().exp()
            for to in (middle, sigmas[i + 1]):
                values = sampler(sigmas[i], to).flatten()
                square = float((values.double() ** 2).mean())
                draws.append({"from": float(sigmas[i]), "to": float(to), "first": exact(values[:4]), "last": exact(values[-4:]), "square": square})
        cases.append({"seed": str(seed), "min": float(sigmas[sigmas > 0].min()), "max": float(sigmas.max()), "draws": draws})
    return cases


def brownian_runs():
    """Whole runs in f32 with the noise of a seed, one tree for a batch of two and one for each."""
    runs = []
    sigmas = K.get_sigmas_karras(10, float(TABLE[0]), float(TABLE[-1]))
    for name in ("dpmpp_sde", "dpmpp_2m_sde", "dpmpp_3m_sde"):
        for seeds in (7, [7, 8]):
            x = torch.linspace(-1, 1, 2 * 4 * 8 * 8).reshape(2, 4, 8, 8) * sigmas[0]
            noises = K.BrownianTreeNoiseSampler(x, sigmas[sigmas > 0].min(), sigmas.max(), seed=seeds)
            model = lambda x, sigma, **_: denoiser(x, sigma[:, None, None, None])
            x = getattr(K, "sample_" + name)(model, x, sigmas, noise_sampler=noises, disable=True)
            runs.append({"sampler": name, "batched": seeds != 7, "first": exact(x.flatten()[:4]), "last": exact(x.flatten()[-4:])})
    return runs


def schedules():
    """What compat_vectors.json lacks. Formulas are public facts of both tools (product.md B6); numbers by scipy and numpy."""
    low, high = float(TABLE[0]), float(TABLE[-1])
    comfy = [14.6146412293, 6.4745760956, 3.8636745985, 2.6946151520, 1.8841921177, 1.3943805092, 0.9642583904, 0.6523686016, 0.3977456272, 0.1515232662, 0.0291671582]
    a1111 = [14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029]

    def aligned(known, n):
        logs = np.log(known[::-1])
        return np.exp(np.interp(np.linspace(0, 1, n), np.linspace(0, 1, 11), logs))[::-1]

    def kl(last):
        share = np.arange(last + 1) / max(last, 1)
        return np.tan(share * np.arctan(low) + (1 - share) * np.arctan(high))

    found = {}
    for n in (1, 4, 10, 20, 30, 50):
        quantiles = np.rint(stats.beta.ppf(1 - np.linspace(0, 1, n, endpoint=False), 0.6, 0.6) * 999).astype(int)
        once = [t for i, t in enumerate(quantiles) if i == 0 or t != quantiles[i - 1]]
        turbo = np.clip(np.rint((np.arange(1, n + 1) * np.float32(1000.0 / n) - 1)[::-1]), 0, 999).astype(int)
        found[n] = {
            "comfy": {
                "beta": exact(TABLE[once]) + [0.0],
                "kl_optimal": numbers(kl(n - 1)) + [0.0],
                "polyexponential": exact(K.get_sigmas_polyexponential(n, low, high)),
                "align_your_steps": numbers(aligned(comfy, n + 1)[:-1]) + [0.0],
            },
            "a1111": {
                "beta": numbers(low + stats.beta.ppf(1 - np.linspace(0, 1, n), 0.6, 0.6) * (high - low)) + [0.0],
                "kl_optimal": numbers(kl(n)),
                "align_your_steps": numbers(aligned(a1111, n)) + [0.0],
                "turbo": exact(TABLE[turbo]) + [0.0],
            },
        }
        if n <= 10:
            found[n]["comfy"]["turbo"] = exact(TABLE[np.arange(999, -1, -100)[:n]]) + [0.0]
    return found


def zero_terminal():
    """diffusers' rescaling (algorithm 1 of Lin et al.); its last ᾱ is 0, so the last level is left out."""
    from diffusers.schedulers.scheduling_ddim import rescale_zero_terminal_snr

    alphas = torch.cumprod(1 - rescale_zero_terminal_snr(torch.from_numpy(BETAS)), 0)
    return {str(t): float(((1 - alphas[t]) / alphas[t]) ** 0.5) for t in (0, 1, 100, 500, 900, 990, 998)}


def equal_times(n, start=1.0):
    """UniPC's own levels (its authors' NoiseScheduleVP, "discrete", "time_uniform"), by numpy's interpolation."""
    log_alpha = 0.5 * np.log(np.cumprod(1 - BETAS))
    at = np.interp(np.linspace(start, 0.001, n + 1), np.arange(1, 1001) / 1000, log_alpha)
    return numbers(np.sqrt(np.expm1(-2 * at)))


def turned():
    """Noise of seed 1 turned by 0.3 towards that of seed 2, each column on its great circle (Shoemake 1985), in f64."""
    a, b = (torch.randn((4, 8, 8), generator=torch.Generator().manual_seed(s)).double().numpy() for s in (1, 2))
    out = np.empty_like(a)
    for c in range(4):
        for x in range(8):
            p, q = a[c, :, x], b[c, :, x]
            angle = np.arccos(np.dot(p, q) / np.linalg.norm(p) / np.linalg.norm(q))
            out[c, :, x] = (np.sin(0.7 * angle) * p + np.sin(0.3 * angle) * q) / np.sin(angle)
    return numbers(out.flatten())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--deis")
    path = HERE / "samplers.json"
    args = parser.parse_args()
    old = json.loads(path.read_text()) if path.exists() else {}
    tables, rough = k_diffusion_tables()
    golden = {
        "start": START,
        "schedules": [{"steps": n, "denoise": d, "sigmas": exact(SCHEDULES[n, d])} for n in COUNTS for d in (1, 0.6)],
        "k_diffusion": tables,
        "k_diffusion_f32": rough,
        "diffusers": diffusers_tables(),
        "deis": deis_tables(args.deis) if args.deis else old["deis"],
        "brownian": brownian(),
        "brownian_runs": brownian_runs(),
        "levels": schedules(),
        "zero_terminal": zero_terminal(),
        "equal_times": {"20": equal_times(20), "7": equal_times(7), "10 from 451": equal_times(10, 0.452)},
        "turned": turned(),
    }
    lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in golden.items() if not isinstance(value, list)]
    for key, value in golden.items():
        if isinstance(value, list):
            lines.append(f"{json.dumps(key)}: [\n" + ",\n".join(json.dumps(row) for row in value) + "\n]")
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
