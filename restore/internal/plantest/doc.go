// Package plantest has trees and hosts for the tests of all rooms of package restore:
// random ones by the rules, one that uses everything, a small and a wide one.
package plantest
