"""Losses, by kind; ``get_registry()`` lists and builds them."""

from __future__ import annotations

from photic.core.registry import Registry, lazy_attributes
from photic.core.registry import losses as _registry

__getattr__ = lazy_attributes(
    __name__,
    {
        "BaseLoss": "photic.losses.base",
        "FocalLoss": "photic.losses.focal",
        "BCEWithLogitsLoss": "photic.losses.bce",
        "AsymmetricLoss": "photic.losses.asymmetric",
        "SumLoss": "photic.losses.composite",
        "PoissonNLLLoss": "photic.losses.diffraction",
        "AmplitudeMAELoss": "photic.losses.diffraction",
        "ComplexMAELoss": "photic.losses.diffraction",
        "TotalVariationLoss": "photic.losses.diffraction",
        "L1Loss": "photic.losses.reconstruction",
        "MSELoss": "photic.losses.reconstruction",
        "CharbonnierLoss": "photic.losses.reconstruction",
        "LocalMeanLoss": "photic.losses.reconstruction",
        "SobelEdgeLoss": "photic.losses.reconstruction",
        "SSIMLoss": "photic.losses.reconstruction",
        "MSSSIMLoss": "photic.losses.reconstruction",
        "ColourConsistencyLoss": "photic.losses.colour",
        "ColourDiversityLoss": "photic.losses.colour",
        "ExposureLoss": "photic.losses.reference_free",
        "ExposureControlLoss": "photic.losses.reference_free",
        "ColourConstancyLoss": "photic.losses.reference_free",
        "SpatialConsistencyLoss": "photic.losses.reference_free",
        "PerceptualLoss": "photic.losses.perceptual",
        "MaskMeanLoss": "photic.losses.inner",
        "CurvePenaltyLoss": "photic.losses.inner",
        "IlluminationSmoothnessLoss": "photic.losses.inner",
    },
)


def get_registry() -> Registry:
    """Return the registry of losses: ``.get(name, **fields)``, ``.list_losses(pattern)``, ``.register(name, cls)``."""
    return _registry
