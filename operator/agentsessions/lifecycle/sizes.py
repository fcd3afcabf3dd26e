"""A workspace that grows: its claims are asked to, in place, where their storage class lets them."""

from agentsessions.api.v1alpha1.placement import Site, Volume
from agentsessions.lifecycle.phases import TERMINAL
from agentsessions.lifecycle.sites import find_site, is_settled
from agentsessions.lifecycle.situation import Situation


def find_growth(case: Situation) -> Volume | None:
    """Return the size that the session's claims are to have; None when they have it, or were refused it."""
    here, workspace = find_site(case), case.facts.session.spec.workspace
    if here.volume is None or workspace is None or case.facts.resize is not None:
        return None
    if not case.has_begun or case.phase in TERMINAL or case.status.site is None or not is_settled(case):
        return None
    size = str(workspace.size)
    is_told = size in {here.volume.size, here.volume.refused_size}
    return None if is_told else here.volume.model_copy(update={"size": size})


def resized(case: Situation, site: Site) -> Site:
    """Return the site with the size that its claims now have, or were refused."""
    workspace = case.facts.session.spec.workspace
    if case.facts.resize is None or site.volume is None or workspace is None:
        return site
    size = str(workspace.size)
    update = {"refused_size": size} if case.facts.resize else {"size": size, "refused_size": None}
    return site.model_copy(update={"volume": site.volume.model_copy(update=update)})
