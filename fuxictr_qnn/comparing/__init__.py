"""`fuxictr compare`: the protocol of docs/comparing.md, from a request to a report.

Every step leaves its result in the comparison's folder, so that the same command goes on wherever it ended.
"""
