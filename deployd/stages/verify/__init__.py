"""Artifact -> Verified: it runs alone, without the checkout and without a network, before it is shipped anywhere."""

from deployd.elf import Fleet
from deployd.stages.verify.checkout import Checkout
from deployd.stages.verify.natives import check_natives
from deployd.stages.verify.record import remember, remembered
from deployd.stages.verify.trial import refusal, verify
from deployd.stages.verify.values import Finding, Verified

__all__ = ["Checkout", "Finding", "Fleet", "Verified", "check_natives", "refusal", "remember", "remembered", "verify"]
