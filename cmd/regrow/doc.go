// Command regrow restores process trees from a YAML description.
//
// Packages images and restore do the work. This command maps the command line to
// their functions, and their errors to exit statuses.
package main
