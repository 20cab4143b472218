"""Models and encoders of the user's own: files and modules that the user names, installed packages.

Code runs only because the user named it in this command, or because an installed package offers
it under an entry point. A run, store, plan or checkpoint never makes code run: whoever reads a
name there needs a ``Code`` or an ``Offer`` as well, and neither is made from what a file says.
"""
