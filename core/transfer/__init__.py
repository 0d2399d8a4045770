"""Pages over a wire: the page server, and the destination of a dump that sends its pages to one."""
