"""AdmissionReview in, AdmissionReview out: the decisions of every webhook endpoint, without I/O."""
