"""An output format of photic predict."""

from photic.inference.outputs import Prediction, PredictionFormat


class LabFormat(PredictionFormat):
    """One word per picture."""

    def header(self) -> str:
        return ""

    def lines(self, prediction: Prediction) -> str:
        found = [name for name, present in zip(self.classes, prediction.decisions, strict=True) if present]
        return f"{prediction.file.name}={'+'.join(found) or 'clean'}\n"
