// Package host asks what this machine and its kernel have, and says what a description
// needs of it that is not there: attributes of the caller, limits, system calls that a
// sandbox refuses, paths and programs. It tries what cannot be asked, in processes of its
// own, and changes nothing.
package host
