"""What every folder uses: errors, whole files, command lines, processes. No pictures, no networks."""
