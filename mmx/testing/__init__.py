"""For authors of models and encoders: ``check_recommender`` and ``check_encoder``.

They need no test framework, and raise AssertionError with what is wrong::

    from mmx.testing import check_recommender
    from mine import Model

    def test_it_conforms():
        check_recommender(Model)
"""

from mmx.testing.encoders import check_encoder
from mmx.testing.recommenders import check_recommender

__all__ = ["check_encoder", "check_recommender"]
