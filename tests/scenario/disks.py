"""The volumes of a session's workspace in memory: which files are on each, and whether a copy is whole."""

from __future__ import annotations

from dataclasses import dataclass, field

from agentsessions.api.v1alpha1.placement import Volume
from agentsessions.lifecycle.decision import PodWanted


@dataclass
class Disks:
    """What agents wrote, by the number of the volume: one file for each committed turn."""

    files: dict[int, set[int]] = field(default_factory=dict)
    copied: dict[int, int] = field(default_factory=dict)
    """Which volume a whole copy was made from, by the number of the one that has it."""
    mounted: dict[str, tuple[int | None, int | None]] = field(default_factory=dict)
    """Volume of each pod, and the one that it is filled from, by the pod's uid."""
    forks: set[str] = field(default_factory=set)
    """Pods whose volume begins with the files of another session."""
    full_class: str = ""
    """Storage class whose volumes have no room for a copy."""
    classes: dict[int, str | None] = field(default_factory=dict)
    sizes: dict[int, str] = field(default_factory=dict)
    of_source: frozenset[int] = frozenset()
    """Files of another session's workspace."""
    refusal: str = ""
    """Why claims cannot grow."""

    def mount(self, uid: str, wanted: PodWanted) -> None:
        """Give a pod its volume, and make it if it is not there."""
        volume, source = wanted.site.volume, wanted.copy_from
        if volume is not None:
            self.files.setdefault(volume.number, set())
            self.classes[volume.number] = volume.storage_class_name
            self.sizes.setdefault(volume.number, volume.size)
        is_fork = volume is not None and volume.filled_from is not None and wanted.agent in volume.filled_from.agents
        if is_fork:
            self.forks.add(uid)
        self.mounted[uid] = (volume.number if volume else None, source.number if source else None)

    def fill(self, uid: str) -> bool:
        """Copy what a pod's volume is to begin with, unless that was done; say whether it could be."""
        number, source = self.mounted[uid]
        if uid in self.forks and number is not None and number not in self.copied:
            self.files[number], self.copied[number] = set(self.of_source), -1
        if number is None or source is None or self.copied.get(number) == source:
            return True
        if self.full_class and self.classes[number] == self.full_class:
            self.files[number] = set(list(self.files[source])[:1])
            return False
        assert source in self.files, f"volume {source} is gone, and volume {number} needs what is on it"
        self.files[number], self.copied[number] = set(self.files[source]), source
        return True

    def write(self, uid: str, turn: int) -> None:
        """Let a committed turn leave a file; those of all turns before it must be there."""
        number, _ = self.mounted[uid]
        if number is None:
            return
        there = self.files[number]
        assert there == set(range(1, turn)) | self.of_source, (
            f"volume {number} has the files of turns {there} before turn {turn}"
        )
        there.add(turn)

    def drop(self, volumes: tuple[Volume, ...]) -> None:
        """Delete volumes."""
        for volume in volumes:
            self.files.pop(volume.number, None)

    def grow(self, volume: Volume) -> str:
        """Let a volume grow; return why not."""
        if not self.refusal:
            self.sizes[volume.number] = volume.size
        return self.refusal
