"""Scores what a loudspeaker played against what was said: one line "STOI PESQ" for each file.

Called by `cargo bench --bench listening` as: listening.py REFERENCE.wav PLAYED.wav...
All are 48 kHz mono float WAV, aligned. PESQ is ITU-T P.862.2 (wide band, 16 kHz), the mean over stretches of
eight seconds, since it was made for sentences; STOI is over the whole.
"""
import sys

import numpy
from pesq import NoUtterancesError, pesq
from pystoi import stoi
from scipy.io import wavfile
from scipy.signal import resample_poly

STRETCH = 8 * 16_000


def read(name):
    rate, samples = wavfile.read(name)
    assert rate == 48_000, f"{name}: {rate} Hz"
    return resample_poly(samples.astype(numpy.float64), 1, 3)


def mean_pesq(reference, played):
    scores = []
    for begin in range(0, len(reference) - STRETCH // 2, STRETCH):
        piece = slice(begin, begin + STRETCH)
        try:
            scores.append(pesq(16_000, reference[piece], played[piece], "wb"))
        except NoUtterancesError:
            pass
    return numpy.mean(scores)


def main():
    reference = read(sys.argv[1])
    for name in sys.argv[2:]:
        played = read(name)[: len(reference)]
        print(f"{stoi(reference, played, 16_000):.3f}   {mean_pesq(reference, played):.2f}")


main()
