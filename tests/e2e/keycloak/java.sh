#!/bin/sh
# Java that ends with the process that started it; which Java says the environment.
exec setpriv --pdeathsig KILL -- "$KAGENTI_JAVA" "$@"
