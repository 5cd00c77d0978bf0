"""Iterative methods, one a file: what edges, positivity or Poisson noise need beyond a linear filter."""
