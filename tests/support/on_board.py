"""A folder as `tensorboard --logdir` shows it, by TensorBoard's own code."""

from dataclasses import dataclass
from pathlib import Path

from tensorboard import context
from tensorboard.backend.event_processing import data_provider, plugin_event_multiplexer
from tensorboard.plugins import base_plugin
from tensorboard.plugins.hparams import backend_context


@dataclass(frozen=True)
class Seen:
    """`runs`: a run's name -> the tags it has; `hparams` and `metrics`, each (group,
    tag), are the columns of the page HParams."""

    runs: dict[str, set[str]]
    hparams: set[str]
    metrics: set[tuple[str, str]]


def seen(logdir: str | Path) -> Seen:
    """What there is to see in `logdir`."""
    events = plugin_event_multiplexer.EventMultiplexer()
    events.AddRunsFromDirectory(str(logdir)).Reload()
    provider = data_provider.MultiplexerDataProvider(events, str(logdir))
    plugin = base_plugin.TBContext(data_provider=provider, multiplexer=events)
    backend, request = backend_context.Context(plugin), context.RequestContext()
    sessions = backend.hparams_metadata(request, "")
    page = backend.experiment_from_metadata(request, "", True, sessions, [])
    return Seen(
        {name: set(tags["tensors"]) for name, tags in events.Runs().items()},
        {each.name for each in page.hparam_infos},
        {(each.name.group, each.name.tag) for each in page.metric_infos},
    )
