"""deploy/k8s: plain manifests, one object a file, rendered from the chart."""

import re
from pathlib import Path

from deploy.generate import helm

FOLDER = Path(__file__).parent.parent / "k8s"
VALUES = FOLDER / "values.yaml"
HEADER = "# Rendered from deploy/helm by `make manifests`; change it there, or in an overlay.\n"

# Labels that would say of a plain manifest what is not so; and the namespace, which the
# kustomization gives, so that an overlay can give another.
LEFT_OUT = re.compile(
    r"^( +(helm\.sh/chart|app\.kubernetes\.io/managed-by)|  namespace): .*\n", re.M
)


def files(binary: Path) -> dict[str, str]:
    """File name to content; `kustomization.yaml` lists the others.

    :raises RuntimeError: with Helm's words, if the chart does not render.
    """
    rendered = helm.template(
        *(binary, "--values", str(VALUES), "--skip-tests"),
        release="voicefleet",
        namespace="voicefleet",
    )
    if not rendered.is_ok:
        raise RuntimeError(rendered.err)
    objects = dict(_object(part) for part in rendered.out.split("---\n# Source: ")[1:])
    listed = "".join(f"  - {name}\n" for name in ("namespace.yaml", *sorted(objects)))
    return {
        **objects,
        "kustomization.yaml": (
            f"{HEADER}apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n"
            f"namespace: voicefleet\nresources:\n{listed}"
        ),
    }


def _object(part: str) -> tuple[str, str]:
    source, _, text = part.partition("\n")
    return Path(source).name, HEADER + LEFT_OUT.sub("", text).strip() + "\n"
