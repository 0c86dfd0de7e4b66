"""Solo work: the node's templates become jobs that pay the operator."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from miner.chain.payout_script import payout_kind
from miner.kernel import share_header
from miner.work.job import Job, JobBook, block_bytes
from miner.work.layout import Layout
from miner.work.solo_job import solo_job
from miner.work.template import Template

log = logging.getLogger(__name__)

EXTRANONCE1_SIZE = 4
EXTRANONCE2_SIZE = 8
STANDARD_LAYOUT = Layout(EXTRANONCE1_SIZE, EXTRANONCE2_SIZE)


@dataclass(frozen=True, slots=True)
class Payout:
    """Who is paid and what the coinbase says: the scriptPubKey comes from the node, the tag from the operator."""

    address: str
    script: bytes
    tag: bytes


class Solo:
    """Makes jobs of templates, keeps the job book and tells `on_job` what to hash; None means there is nothing.

    `next_id()` gives each job its id; `layout` may be changed at any time, for the jobs that follow.
    """

    def __init__(
        self,
        book: JobBook,
        payout: Payout,
        *,
        version_mask: int,
        on_job: Callable[[Job | None], None],
        clock: Callable[[], float],
        next_id: Callable[[], str],
        layout: Layout = STANDARD_LAYOUT,
    ) -> None:
        self._book = book
        self.payout = payout
        self._version_mask = version_mask
        self._on_job = on_job
        self._clock = clock
        self._next_id = next_id
        self.layout = layout
        self._hashing_first_job = False

    def job_of(self, template: Template, *, clean: bool) -> Job:
        """The job that mines `template` for the operator; every call makes a new id."""
        return solo_job(
            template,
            self._next_id(),
            self.payout.script,
            tag=self.payout.tag,
            extranonce1_size=self.layout.extranonce1_size,
            extranonce2_size=self.layout.extranonce2_size,
            version_mask=self._version_mask,
            clean=clean,
            now=self._clock(),
        )

    def proposal_of(self, template: Template) -> tuple[tuple[object, ...], bytes]:
        """A block to propose to the node before the first of its kind is mined, and what makes it one of a kind."""
        return self._proposal(template, self.job_of(template, clean=False), self.payout.script)

    def proposal_to(self, template: Template, script: bytes) -> tuple[tuple[object, ...], bytes]:
        """The same with a coinbase that pays `script`: scripts of one kind are as good as each other."""
        job = self.job_of(template, clean=False).paying(script)
        return self._proposal(template, job, payout_kind(script) or script)

    def _proposal(self, template: Template, job: Job, payee: bytes | str) -> tuple[tuple[object, ...], bytes]:
        extranonce1, extranonce2 = bytes(job.extranonce1_size), bytes(job.extranonce2_size)
        header, _ = share_header(job.share_job, extranonce1, extranonce2, job.ntime_s, 0, job.version)
        shape = (payee, self.payout.tag, template.witness_commitment is not None)
        return shape, block_bytes(job, header, extranonce1, extranonce2)

    def take_template(self, template: Template, *, first: bool = False) -> None:
        """A proven template: its job is the one to hash; `first`: it is the empty one that the node's own follows."""
        current = self._book.current
        clean = current is None or current.prev_hash != template.prev_hash
        job = self.job_of(template, clean=clean)
        self._book.add(job, self._clock())
        if clean or self._hashing_first_job:
            log.info(
                "first_work" if first else "new_work",
                extra={
                    "height": job.height,
                    "prev_hash": job.prev_hash[::-1].hex(),
                    "txs": len(job.txs),
                    "reward_sat": job.reward_sat,
                },
            )
        self._hashing_first_job = first
        self._on_job(job)

    def take_tip(self, tip: bytes) -> None:
        """The chain has a new tip: work on another one is stale from now on."""
        current = self._book.current
        self._book.set_tip(tip, self._clock())
        if current is not None and current.prev_hash != tip:
            self._on_job(None)

    def withdraw(self) -> None:
        """Nothing that could be hashed is known to be valid."""
        self._book.withdraw(self._clock())
        self._on_job(None)
