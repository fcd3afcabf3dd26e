"""Which gateways have a shared journal open, and what becomes of the purchases of one that died. Jobs of the writer.

Each instance raises a counter of its own every few seconds. Another one that has looked several times and found it
unchanged takes it for dead: no clocks are compared, and while the database was away nobody seems dead. An instance
that was only frozen finds its purchases over: they are charged, once, and their answers come too late.
"""

from sqlalchemy import delete, insert, select, update

from agentsessions.journal import failures
from agentsessions.journal.audit_tables import instances
from agentsessions.journal.writer import Work


def enter(work: Work, instance: str) -> int:
    """Note that an instance lives; return how many purchases of an earlier process of its name were charged."""
    recovered = failures.recover(work, instance)
    work.conn.execute(delete(instances).where(instances.c.id == instance))
    work.conn.execute(insert(instances).values(id=instance, started_at=work.now, beats=1))
    return recovered


def beat(work: Work, instance: str) -> dict[str, int]:
    """Note that an instance still lives; return the counters of the others: 0 for owners that are not noted."""
    raised = update(instances).where(instances.c.id == instance).values(beats=instances.c.beats + 1)
    if not work.conn.execute(raised).rowcount:  # another one took it for dead
        work.conn.execute(insert(instances).values(id=instance, started_at=work.now, beats=1))
    noted = {row.id: row.beats for row in work.conn.execute(select(instances.c.id, instances.c.beats))}
    everybody = dict.fromkeys(failures.owners(work), 0) | noted
    return {other: beats for other, beats in everybody.items() if other != instance}


def bury(work: Work, instance: str, beats: int) -> int | None:
    """Charge what an instance was buying when its counter stood still; None when it has moved since."""
    now = work.conn.scalar(select(instances.c.beats).where(instances.c.id == instance))
    return leave(work, instance) if (now or 0) == beats else None


def leave(work: Work, instance: str) -> int:
    """Charge in full what an instance was buying, and forget it; return how many purchases that were."""
    recovered = failures.recover(work, instance)
    work.conn.execute(delete(instances).where(instances.c.id == instance))
    return recovered
