"""What every folder uses: errors, atomic files, command lines, processes. No pictures, no networks."""
