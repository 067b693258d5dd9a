from kerasdistill import own_packages

own_packages.require()  # one line here, not an odd error somewhere below
