"""The sizes of a unit vocoder, and how far its sound looks around itself."""

from __future__ import annotations

import math
from dataclasses import dataclass

from backtalk.errors import ConfigError
from backtalk.nn.spectrum_synthesis import SpectrumSynthesis


@dataclass(frozen=True, slots=True)
class UnitVocoderConfig:
    """Sizes; the defaults are those of the vocoder of LLaMA-Omni (arXiv 2409.06666, section 2.4).

    Attributes:
        units: how many there are.
        embedding: features of a unit.
        channels: before the first upsampling; each halves them.
        rates: samples that an upsampling makes of one.
        rate_kernels: of the upsamplings.
        block_kernels: of the residual blocks beside each other behind an upsampling.
        dilations: of the convolutions in a row in a block.
        kernel: of the first and the last convolution.
        spectrum_hop: 0 for a network that ends in samples, as published; else it ends in spectra,
            one every so many samples, which is many times cheaper (see `SpectrumSynthesis`).
        duration_width: features inside the duration predictor.
        sample_rate: Hz.
    """

    units: int = 1000
    embedding: int = 128
    channels: int = 512
    rates: tuple[int, ...] = (5, 4, 4, 2, 2)
    rate_kernels: tuple[int, ...] = (11, 8, 8, 4, 4)
    block_kernels: tuple[int, ...] = (3, 7, 11)
    dilations: tuple[int, ...] = (1, 3, 5)
    kernel: int = 7
    spectrum_hop: int = 0
    duration_width: int = 128
    sample_rate: int = 16_000

    def __post_init__(self) -> None:
        """Refuse what cannot be built.

        Raises:
            ConfigError: an upsampling has no kernel that fits it, or too few channels are left.
        """
        if len(self.rates) != len(self.rate_kernels) or any(
            kernel < rate or (kernel - rate) % 2
            for rate, kernel in zip(self.rates, self.rate_kernels, strict=False)
        ):
            raise ConfigError(
                f"rates {self.rates} do not fit kernels {self.rate_kernels}: each kernel must be "
                "its rate and an even number more"
            )
        if self.spectrum_hop < 0 or self.spectrum_hop % 2:
            raise ConfigError(f"spectrum_hop is {self.spectrum_hop}; give 0, or an even number")
        if any(kernel % 2 == 0 for kernel in (*self.block_kernels, self.kernel)):
            raise ConfigError(f"kernels {self.block_kernels} and {self.kernel} must be odd")
        if self.channels % 2 ** len(self.rates):
            raise ConfigError(f"{self.channels} channels cannot be halved {len(self.rates)} times")

    @property
    def hop_samples(self) -> int:
        """Samples per unit."""
        return math.prod(self.rates) * max(1, self.spectrum_hop)

    @property
    def unit_rate(self) -> float:
        """Units per second."""
        return self.sample_rate / self.hop_samples

    @property
    def stage_channels(self) -> tuple[int, ...]:
        """Channels behind each upsampling."""
        return tuple(self.channels // 2 ** (i + 1) for i in range(len(self.rates)))

    @property
    def stage_reaches(self) -> tuple[int, ...]:
        """How many samples behind each upsampling, on either side, a piece of sound depends on."""
        return self._reaches()[1]

    @property
    def reach(self) -> int:
        """How many units on either side the sound of a unit depends on."""
        return self._reaches()[0]

    def _reaches(self) -> tuple[int, tuple[int, ...]]:
        # A block's first convolution is dilated, its second is not.
        block = max(self.block_kernels) // 2 * (sum(self.dilations) + len(self.dilations))
        reach = self.kernel // 2 + (SpectrumSynthesis.reach if self.spectrum_hop else 0)
        found = []
        for rate, kernel in zip(reversed(self.rates), reversed(self.rate_kernels), strict=True):
            reach += block
            found.append(reach)
            reach = (reach + (kernel + rate) // 2 - 1) // rate
        return reach + self.kernel // 2, tuple(reversed(found))
