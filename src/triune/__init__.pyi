from . import losses as losses, metrics as metrics, plots as plots
from ._version import __version__ as __version__
from .data.batches import ClassBalancedBatchSampler as ClassBalancedBatchSampler
from .distances.embeddings import check_finite as check_finite
from .distances.pairwise import paired_distance as paired_distance, pairwise_distance as pairwise_distance
from .errors import InputError as InputError
from .losses.cached_gradients import grad_cache as grad_cache
from .losses.joined import DistributedTripletLoss as DistributedTripletLoss, JoinedLoss as JoinedLoss
from .losses.margin_choice import diagnose as diagnose, suggest_margin as suggest_margin
from .losses.memory import CrossBatchMemory as CrossBatchMemory
from .losses.mining import TripletMiner as TripletMiner, Triplets as Triplets, mine_triplets as mine_triplets
from .losses.outcome import TripletOutcome as TripletOutcome
from .losses.triplet import (
    TripletLoss as TripletLoss,
    triplet_loss as triplet_loss,
    triplet_margin_loss as triplet_margin_loss,
)
from .model.network import MultiTaskModel as MultiTaskModel, Prediction as Prediction
from .model.objective import LossTerms as LossTerms, MultiTaskObjective as MultiTaskObjective, Targets as Targets
from .pairs.prepared import PreparedEmbeddings as PreparedEmbeddings, prepare as prepare
from .recognition.clustering import clustering_quality as clustering_quality
from .recognition.few_shot import few_shot as few_shot
from .recognition.head_episodes import head_episodes as head_episodes
from .recognition.label_errors import LabelErrors as LabelErrors, likely_label_errors as likely_label_errors
from .recognition.new_classes import NewClasses as NewClasses, learn_classes as learn_classes
from .recognition.strangers import StrangerScores as StrangerScores, fpir_threshold as fpir_threshold
from .retrieval.by_rule import retrieval_by_rule as retrieval_by_rule
from .retrieval.diversity import maximal_marginal_relevance as maximal_marginal_relevance
from .retrieval.feedback import background as background, taste_scores as taste_scores
from .retrieval.metrics import (
    RetrievalMetrics as RetrievalMetrics,
    retrieval_metrics as retrieval_metrics,
    retrieval_per_query as retrieval_per_query,
)
from .retrieval.neighbours import top_k as top_k
from .serving.gallery.gallery import Gallery as Gallery
from .serving.gallery.hits import Hit as Hit, Hits as Hits
from .serving.gallery.identified import (
    Candidate as Candidate,
    Identification as Identification,
    IdentificationRule as IdentificationRule,
)
from .serving.loaded import LoadedRun as LoadedRun, load as load
from .verification.all_pairs import verify_embeddings as verify_embeddings
from .verification.bootstrap import bootstrap_verification as bootstrap_verification
from .verification.comparison import compare_verification as compare_verification
from .verification.conditions import rates_by_condition as rates_by_condition
from .verification.decision import ExpectedFPR as ExpectedFPR, Threshold as Threshold
from .verification.new_identities import expected_fpr as expected_fpr
from .verification.promise import identities_needed as identities_needed, promised_score as promised_score
from .verification.roc import Confusion as Confusion, Verification as Verification, verify_scores as verify_scores
from .verification.thresholds import fit_threshold as fit_threshold
from .web.client import Client as Client
from .web.wire import Enrolment as Enrolment
