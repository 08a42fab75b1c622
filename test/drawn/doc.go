// Package drawn makes fuzz targets of properties that draw their inputs with rapid.
package drawn
