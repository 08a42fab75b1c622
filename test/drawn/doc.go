// Package drawn fuzzes what rapid draws.
package drawn
