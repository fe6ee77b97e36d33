"""The installation that a command asks about: what options say, and for the rest what is installed in the cluster that is read."""

from dataclasses import dataclass
from typing import Any, Final

from kagenti.cli.choices import ENROLLED, RELEASE_NAMESPACE, Mode, Target, installation
from kagenti.core import installed, trigger
from kagenti.core.installation import Installation

JSON = Any  # a raw configuration

_OPTIONS: Final = ("--mode", "--target", "--namespace-selector", "--release-namespace")


@dataclass(frozen=True, slots=True)
class Setup:
    """The installation that is asked about.

    ``enrolled`` counts for namespaces of which nothing is known. ``assumed`` are the options that nobody gave: their
    values are the chart's defaults until a cluster says what is installed there. ``told`` is set once people have been told so.
    """

    mode: trigger.Mode
    target: installed.Target
    enrolled: bool
    installation: Installation
    assumed: frozenset[str] = frozenset()
    told: bool = False


def asked(
    mode: Mode | None,
    target: Target | None,
    namespace_selector: str | None,
    release_namespace: str | None,
    *,
    cluster_domain: str,
    enrolled: bool,
) -> Setup:
    """Returns the setup that these options ask for; None is an option that was not given."""
    given = (mode, target, namespace_selector, release_namespace)
    return Setup(
        mode=(mode or Mode.both).value,
        target=(target or Target.pods).value,
        enrolled=enrolled,
        installation=installation(
            RELEASE_NAMESPACE if release_namespace is None else release_namespace,
            cluster_domain,
            ENROLLED if namespace_selector is None else namespace_selector,
        ),
        assumed=frozenset(option for option, value in zip(_OPTIONS, given, strict=True) if value is None),
    )


def completed(setup: Setup, injector: JSON) -> Setup | None:
    """Returns the setup with what was assumed taken from a MutatingWebhookConfiguration; None where it is none of ours."""
    stands = installed.mode(injector)
    if stands is None:
        return None
    mode, target, selector, release = (option in setup.assumed for option in _OPTIONS)
    found = setup.installation
    covers = installed.namespace_selector(injector) if selector else None
    place = installed.release_namespace(injector) if release else ""
    return Setup(
        mode=stands if mode else setup.mode,
        target=installed.target(injector) if target else setup.target,
        enrolled=setup.enrolled,
        installation=installation(
            place or found.release_namespace,
            found.cluster_domain,
            found.namespace_selector if covers is None else covers,
        ),
    )


def assumption(setup: Setup, why: str) -> str:
    """Returns the line that tells people on what an answer rests, where nobody said what is installed."""
    options = ", ".join(option for option in _OPTIONS if option in setup.assumed)
    return (
        f"{why}; taken to be installed: trigger mode {setup.mode}, target {setup.target}, release namespace "
        f"{setup.installation.release_namespace}, namespaces with {setup.installation.namespace_selector} enrolled; "
        f"{options} say otherwise"
    )
