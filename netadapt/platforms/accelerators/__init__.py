"""Hardware on paper: closed forms of what a layer costs on accelerators that are not at hand.

Nothing here is measured by us, and every result says so. Each module computes one kind of hardware
from a layer's shape alone; a layer that it cannot compute is an error, never a zero.

loops.py            what a layer computes: the loops of a convolution, or a matrix product
layer_energy.py     a layer's energy by level of the memory and kind of data, with its latency
eyeriss.py          Eyeriss (JSSC 2017): accesses, time and energy of a given mapping
eyeriss_mapping.py  the mapping that costs the least, searched once for each shape
crossbar.py         ISAAC (ISCA 2016): arrays of memristors, and the widths that fill them
optics.py           light: homodyne products, meshes of interferometers, optical links
noise.py            what disturbs analog weights: published presets
published.py        the chips' own figures, which the models are held against
report.py           a network's energy by layer, level and kind of data
platform.py         all of it as platforms that a search can ask
opening.py          these platforms by their address
filling.py          widths that fill a crossbar's arrays
"""
