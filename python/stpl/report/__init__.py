"""Reports: pictures, curves and tables in one HTML file that needs nothing else."""
