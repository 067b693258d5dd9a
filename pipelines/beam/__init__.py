"""The Beam job that labels views, and files in buckets by way of Beam."""

from kerasdistill import packages

packages.require("apache_beam", by="labelling, or reading a set from a bucket,")
