// Command regrow restores process trees from a YAML description.
//
// The work is done by packages images and restore; this command maps words on
// the command line to their calls, and their errors to exit statuses.
package main
