"""RemDiNet: low-light enhancement by curves and by semantic guidance, blended where noise and distraction say which to trust.

Source: Zain Ul Abideen, Zhang & Liu 2026, Remove the distraction: Semantic-SNR guided low-light image enhancement under flexible
supervision.
"""
