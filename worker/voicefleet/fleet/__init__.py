"""The fleet from outside: what each pod says of itself, asked of the pods or of Prometheus.

Runs where an operator sits, beside no pod. What comes back is checked as if a stranger had sent it,
because an address may lead anywhere. Only reads; what changes a fleet is Kubernetes' or the pod's.
"""
