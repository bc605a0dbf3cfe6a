"""The HTML, CSS and JavaScript of the report and of the page in the browser, and how they are filled in."""
