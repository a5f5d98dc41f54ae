"""What the training scripts share: precision, optimizers, schedule, moving average, and stopping and going on."""

import contextlib
import copy
import math
import pathlib
import time
import timeit

import torch

WORK = pathlib.Path(__file__).resolve().parents[2] / "target" / "demo-model"  # states, logs, caches; git does not see it
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def multiplies_halves():
    """Whether products of bfloat16 are no slower than those of single precision. A CPU without instructions for them imitates them, and
    a step of the UNet takes 19 seconds instead of 2 (AMD EPYC with AVX2)."""
    seconds = {}
    for dtype in (torch.float32, torch.bfloat16):
        a = torch.ones(512, 512, dtype=dtype)
        seconds[dtype] = min(timeit.repeat(lambda: a @ a, number=1, repeat=5))  # the best: others may be at work
    return seconds[torch.bfloat16] < seconds[torch.float32]


HALF = DEVICE == "cuda" or multiplies_halves()


def mixed_precision():
    """The networks' products in bfloat16 where the device has them, their sums and weights in single precision."""
    return torch.autocast(DEVICE, torch.bfloat16) if HALF else contextlib.nullcontext()


def orthogonalized(m):
    """The nearest matrices (K, R, C) with singular values near 1, by five Newton-Schulz steps (Jordan et al., "Muon", 2024)."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = m / (m.norm(dim=(1, 2), keepdim=True) + 1e-7)
    x = x.bfloat16() if HALF else x  # as precise as the steps need
    turned = x.shape[1] > x.shape[2]
    x = x.mT if turned else x
    for _ in range(5):
        xx = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(xx, xx, xx, beta=b, alpha=c), x, beta=a)
    return (x.mT if turned else x).float()


class Muon(torch.optim.Optimizer):
    """Momentum, made orthogonal; for matrices and for convolutions seen as matrices (out, in·height·width)."""

    def __init__(self, parameters, lr, momentum=0.95, weight_decay=0.01):
        super().__init__(parameters, dict(lr=lr, momentum=momentum, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            alike = {}  # matrices of one shape go together: they are small, and many
            for p in group["params"]:
                if p.grad is not None:
                    alike.setdefault(p.flatten(1).shape, []).append(p)
            for (rows, columns), parameters in alike.items():
                updates = []
                for p in parameters:
                    m = self.state[p].setdefault("momentum", torch.zeros_like(p))
                    m.mul_(group["momentum"]).add_(p.grad)
                    updates.append((p.grad + group["momentum"] * m).flatten(1))
                size = group["lr"] * math.sqrt(max(1, rows / columns))
                for p, update in zip(parameters, orthogonalized(torch.stack(updates))):
                    p.mul_(1 - group["lr"] * group["weight_decay"]).add_(update.view_as(p), alpha=-size)


class Training:
    """Networks with their optimizers and moving averages; knows how far it is, and saves itself every minute or so."""

    def __init__(self, name, modules, steps, muon_lr, adam_lr, ema=0.998, warmup=50, cooldown=0.5, first_and_last=()):
        self.name, self.modules, self.steps, self.at = name, modules, steps, 0
        self.warmup, self.cooldown, self.ema_decay = warmup, cooldown, ema
        self.ema = {k: copy.deepcopy(m).requires_grad_(False) for k, m in modules.items()}
        named = [(f"{k}.{n}", p) for k, m in modules.items() for n, p in m.named_parameters() if p.requires_grad]
        inner = lambda n, p: p.ndim >= 2 and not any(part in n for part in ("conv_in", "conv_out", "embedding", *first_and_last))
        matrices = [p for n, p in named if inner(n, p)]
        rest = [p for n, p in named if not inner(n, p)]
        self.muon = Muon(matrices, lr=muon_lr)
        self.adam = torch.optim.AdamW(rest, lr=adam_lr, betas=(0.9, 0.98), weight_decay=0.0)
        self.base = {self.muon: muon_lr, self.adam: adam_lr}
        self.path = WORK / f"{name}.state.pt"
        self.log = WORK / f"{name}.log"
        self.saved_at = time.time()
        WORK.mkdir(parents=True, exist_ok=True)
        if self.path.exists():
            self.load()

    def rate(self):
        """Linear warm-up, constant, then linear to zero over the last part."""
        left = (self.steps - self.at) / (self.cooldown * self.steps)
        return min(1.0, (self.at + 1) / self.warmup, left)

    def step(self, loss):
        self.muon.zero_grad()
        self.adam.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_([p for m in self.modules.values() for p in m.parameters() if p.grad is not None], 1.0)
        for optimizer, base in self.base.items():
            for group in optimizer.param_groups:
                group["lr"] = base * self.rate()
            optimizer.step()
        self.at += 1
        decay = min(self.ema_decay, (1 + self.at) / (10 + self.at))
        with torch.no_grad():
            for k, m in self.modules.items():
                torch._foreach_lerp_(list(self.ema[k].parameters()), list(m.parameters()), 1 - decay)
        if time.time() - self.saved_at > 90:
            self.save()

    def report(self, text):
        with self.log.open("a") as log:
            log.write(f"{time.strftime('%H:%M:%S')} step {self.at}: {text}\n")

    def save(self):
        state = dict(at=self.at, muon=self.muon.state_dict(), adam=self.adam.state_dict(), random=torch.get_rng_state())
        for k in self.modules:
            state[k], state[f"ema.{k}"] = self.modules[k].state_dict(), self.ema[k].state_dict()
        torch.save(state, self.path.with_suffix(".part"))
        self.path.with_suffix(".part").replace(self.path)
        self.saved_at = time.time()

    def load(self):
        state = torch.load(self.path, map_location=DEVICE)
        self.at = state["at"]
        self.muon.load_state_dict(state["muon"])
        self.adam.load_state_dict(state["adam"])
        torch.set_rng_state(state["random"].cpu())
        for k in self.modules:
            self.modules[k].load_state_dict(state[k])
            self.ema[k].load_state_dict(state[f"ema.{k}"])
