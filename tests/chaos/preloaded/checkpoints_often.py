"""Lets trainings write a checkpoint after each epoch, so that kills find some."""

from hrm_sweep.hrm import train

train.CHECKPOINT_SECONDS = 0
