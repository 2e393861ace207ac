"""Names of the documents that Lockstep was built from, for those who look for them in `import lockstep as ls`.

`ls.X` offers the names of docs/api.md. Another name of those documents is in a module of its own, or not there yet:
`hint` says which. docs/names.md shows the same tables; a test compares them, and tries every line.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

ELSEWHERE: Final[Mapping[str, str]] = MappingProxyType(
    {
        "BacktestResult": "lockstep.faces.backtest",
        "CNNTrainingSession": "lockstep.learning.gradients.sessions",
        "CNNTrainingStep": "lockstep.learning.gradients.record",
        "CheckpointManager": "lockstep.faces.train_pytorch",
        "DataFilterConfig": "lockstep.market.cleaning",
        "ExperimentRunner": "lockstep.learning.supervised.experiment",
        "ModelInputPackage": "lockstep.episodes.packages.package",
        "ProfitWeightedExperienceBuffer": "lockstep.rl.replay_buffer",
        "RLExperience": "lockstep.rl.experience",
        "RLTrainingStep": "lockstep.learning.gradients.record",
        "TrainingEpisode": "lockstep.episodes.episode",
        "TrainingOutcome": "lockstep.episodes.outcomes",
        "set_seeds": "lockstep.faces.train_pytorch",
        "setup_logging": "lockstep.faces.train_pytorch",
        "train_pytorch_model": "lockstep.faces.train_pytorch",
    }
)
"""Name -> the module to import it from."""

COMING: Final[Mapping[str, str]] = MappingProxyType(
    {
        "BayesianOptimizer": "search by a Gaussian process; until then ls.RandomSearchOptimizer",
        "ConfigurationWriter": "the written configuration of a promoted strategy",
        "CryptoTradingEnv": "the portfolio environment; lockstep.rl.environment has one of a single asset",
        "DataProvider": "live collection; until then ls.load_candles and ls.collect_episodes",
        "DistributionalPPO": "the distributional PPO pipeline",
        "EnhancedTrainingConfig": "live collection and training in the background",
        "EnhancedTrainingIntegration": "live collection and training in the background",
        "FeaturePipeline": "the distributional PPO pipeline",
        "NanGuard": "the distributional PPO pipeline; a gradient that is not finite ends any run today",
        "ObjectiveScorePruning": "the distributional PPO pipeline",
        "OptimizerLrLogging": "the distributional PPO pipeline; every step records its learning rate today",
        "SortinoPruning": "the distributional PPO pipeline",
        "TradingExecutor": "live trading through an adapter of yours",
        "TrainedAsset": "trained assets by symbol and exchange",
        "TrainedAssetsManager": "trained assets by symbol and exchange",
        "TrainedStrategy": "trained assets by symbol and exchange",
        "TrainingJobCreate": "the HTTP interface and its queue; until then ls.train",
        "TrainingJobResponse": "the HTTP interface and its queue; until then ls.train",
        "WalkForwardValidator": "walk-forward validation",
        "WatchdogVecEnv": "the distributional PPO pipeline",
    }
)
"""Name -> what it comes with, and what there is until then."""


def import_line(name: str) -> str | None:
    """The line that imports a name of the source documents which `ls` does not offer; None for any other name."""
    return f"from {ELSEWHERE[name]} import {name}" if name in ELSEWHERE else None


def hint(name: str) -> str | None:
    """A sentence about a name of the source documents that is not an attribute of `lockstep`; None for other names."""
    line = import_line(name)
    if line is not None:
        return f"it has a module of its own: {line}"
    return f"it is not there yet, it comes with {COMING[name]}" if name in COMING else None
