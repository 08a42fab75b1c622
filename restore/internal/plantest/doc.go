// Package plantest has trees and hosts for the tests of all rooms of package restore:
// random ones by the rules, and one that uses everything.
package plantest
