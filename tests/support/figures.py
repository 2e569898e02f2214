"""What a scrape found."""

from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families

Labels = frozenset[tuple[str, str]]


@dataclass
class Figures:
    """One answer of `/metrics`, taken apart."""

    samples: dict[tuple[str, Labels], float] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)
    """Every name that a query may use, also those of figures that have no sample yet."""

    def get(self, name: str, **labels: str) -> float | None:
        """The sample with exactly these labels; None where there is none."""
        return self.samples.get((name, frozenset(labels.items())))

    def total(self, name: str, **labels: str) -> float:
        """The sum of the samples that have these labels among theirs."""
        wanted = labels.items()
        return sum(value for (found, has), value in self.samples.items() if found == name and wanted <= has)

    def labels_of(self, name: str) -> set[str]:
        """Labels that a sample of this name has."""
        return {label for (found, has) in self.samples for label, _ in has if found == name}


SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum"), "summary": ("_count", "_sum", "")}


def read_figures(text: str) -> Figures:
    """Parse Prometheus' text format, with the parser of its own client."""
    figures = Figures()
    for family in text_string_to_metric_families(text):
        base = family.name.removesuffix("_total")
        figures.names |= {base + suffix for suffix in SUFFIXES.get(family.type, ("",))}
        figures.samples |= {(one.name, frozenset(one.labels.items())): one.value for one in family.samples}
    return figures
