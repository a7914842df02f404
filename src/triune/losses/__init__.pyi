from .average_precision import (
    FastAPLoss as FastAPLoss,
    SmoothAPLoss as SmoothAPLoss,
    fast_ap_loss as fast_ap_loss,
    smooth_ap_loss as smooth_ap_loss,
)
from .cached_gradients import grad_cache as grad_cache
from .compared import ComparedLabels as ComparedLabels, MultiLabels as MultiLabels
from .contrastive import (
    ContrastiveLoss as ContrastiveLoss,
    LiftedStructureLoss as LiftedStructureLoss,
    NPairsLoss as NPairsLoss,
    contrastive_loss as contrastive_loss,
    lifted_structure_loss as lifted_structure_loss,
    n_pairs_loss as n_pairs_loss,
)
from .joined import DistributedTripletLoss as DistributedTripletLoss, JoinedLoss as JoinedLoss
from .margin import (
    DistanceWeightedMiner as DistanceWeightedMiner,
    MarginLoss as MarginLoss,
    distance_weighted_triplets as distance_weighted_triplets,
    margin_loss as margin_loss,
)
from .margin_choice import MarginSuggestion as MarginSuggestion, diagnose as diagnose, suggest_margin as suggest_margin
from .memory import CrossBatchMemory as CrossBatchMemory
from .mining import TripletMiner as TripletMiner, Triplets as Triplets, mine_triplets as mine_triplets
from .names import PAIR_LOSSES as PAIR_LOSSES, PROXY_LOSSES as PROXY_LOSSES, make_criterion as make_criterion
from .outcome import TripletOutcome as TripletOutcome
from .pair_mining import (
    BatchEasyHardMiner as BatchEasyHardMiner,
    PairMarginMiner as PairMarginMiner,
    easy_hard_pairs as easy_hard_pairs,
    pair_margin_pairs as pair_margin_pairs,
)
from .pairs import Pairs as Pairs
from .proxies import (
    ArcFaceLoss as ArcFaceLoss,
    CosFaceLoss as CosFaceLoss,
    NormalizedSoftmaxLoss as NormalizedSoftmaxLoss,
    ProxyAnchorLoss as ProxyAnchorLoss,
    ProxyNCALoss as ProxyNCALoss,
    SoftTripleLoss as SoftTripleLoss,
    SubCenterArcFaceLoss as SubCenterArcFaceLoss,
    arcface_loss as arcface_loss,
    cosface_loss as cosface_loss,
    normalized_softmax_loss as normalized_softmax_loss,
    proxy_anchor_loss as proxy_anchor_loss,
    proxy_nca_loss as proxy_nca_loss,
    soft_triple_loss as soft_triple_loss,
    subcenter_arcface_loss as subcenter_arcface_loss,
)
from .regularized import RegularizedLoss as RegularizedLoss, mean_length as mean_length
from .softmax import (
    NTXentLoss as NTXentLoss,
    SupConLoss as SupConLoss,
    nt_xent_loss as nt_xent_loss,
    sup_con_loss as sup_con_loss,
)
from .triplet import (
    TripletLoss as TripletLoss,
    triplet_loss as triplet_loss,
    triplet_margin_loss as triplet_margin_loss,
)
from .two_views import SelfSupervisedLoss as SelfSupervisedLoss
from .weighted import (
    CircleLoss as CircleLoss,
    MultiSimilarityLoss as MultiSimilarityLoss,
    MultiSimilarityMiner as MultiSimilarityMiner,
    circle_loss as circle_loss,
    multi_similarity_loss as multi_similarity_loss,
    multi_similarity_pairs as multi_similarity_pairs,
)
