"""What a comparison found, on a page: one file for each kind of comparison, and the page that they share."""
