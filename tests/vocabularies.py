"""Vocabulary sizes of the papers' datasets, as the authors' feature maps have them."""

from __future__ import annotations

CRITEO = dict(
    zip(
        [f"I{i}" for i in range(1, 14)] + [f"C{i}" for i in range(1, 27)],
        [44, 99, 122, 41, 220, 112, 80, 69, 92, 6, 27, 37, 72]
        + [1446, 554, 157339, 117822, 306, 18, 11882, 630, 5, 39530, 5131, 156656, 3176, 28, 11043]
        + [148913, 12, 4560, 2003, 5, 154564, 18, 17, 53031, 82, 40955],
        strict=True,
    )
)
TENREC = {"user_id": 972040, "item_id": 561090, "video_category": 5, "gender": 5, "age": 10} | {
    f"hist_{i + 1}": size
    for i, size in enumerate([180797, 183260, 186989, 189621, 190968, 190903, 189868, 188695, 186490, 184255])
}
ML_1M = {
    "UserID": 6042,
    "Gender": 4,
    "Age": 9,
    "Occupation": 23,
    "MovieID": 3643,
    "Release": 10,
    "Genres": 20,
}
FRAPPE = dict(
    zip(
        "user item daytime weekday isweekend homework cost weather country city".split(),
        [942, 4084, 9, 9, 4, 5, 4, 11, 82, 233],
        strict=True,
    )
)
IPINYOU = dict(
    zip(
        "weekday hour IP region city adexchange domain slotid slotwidth slotheight slotvisibility slotformat "
        "creative advertiser useragent slotprice".split(),
        [9, 26, 585533, 37, 372, 7, 28623, 50907, 23, 16, 13, 6, 133, 11, 42, 7],
        strict=True,
    )
)
SEQUENCES = {"Genres": 5}  # feature -> max_len
