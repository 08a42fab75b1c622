// Package expected looks at files that are there, and at the caller's descriptors, before
// anything is made: whether they are what the tree expects of them. All differences are
// found at once.
package expected
