// Package words has the texts for ops in messages and pictures: how a call is written, what an
// op is for, and how its failure is reported.
package words
