"""The static scripts that run in published images; every parameter comes by environment, none by templating."""

from typing import Final

INTERCEPT: Final = r"""set -eu
# Redirects the pod's TCP to Envoy, IPv4 and IPv6 alike. Exempt: Envoy's user, our helpers (their user together with
# their group), loopback, link-local, excluded ports.
fail() { echo "kagenti proxy-init: $1" >&2; exit 1; }

rules() {
  t=$1; local_net=$2; link_local=$3
  $t -t nat -N KAGENTI_OUT 2>/dev/null || $t -t nat -F KAGENTI_OUT
  $t -t nat -N KAGENTI_IN 2>/dev/null || $t -t nat -F KAGENTI_IN
  $t -t nat -A KAGENTI_OUT -m owner --uid-owner "$PROXY_UID" -j RETURN
  $t -t nat -A KAGENTI_OUT -m owner --uid-owner "$HELPER_UID" --gid-owner "$HELPER_GID" -j RETURN
  $t -t nat -A KAGENTI_OUT -o lo -j RETURN
  $t -t nat -A KAGENTI_OUT -d "$local_net" -j RETURN
  $t -t nat -A KAGENTI_OUT -d "$link_local" -j RETURN
  for port in $(echo "$OUTBOUND_PORTS_EXCLUDE" | tr ',' ' '); do
    $t -t nat -A KAGENTI_OUT -p tcp --dport "$port" -j RETURN
  done
  $t -t nat -A KAGENTI_OUT -p tcp -j REDIRECT --to-ports "$PROXY_PORT"
  $t -t nat -C OUTPUT -p tcp -j KAGENTI_OUT 2>/dev/null || $t -t nat -I OUTPUT 1 -p tcp -j KAGENTI_OUT
  [ "$INTERCEPT_INBOUND" = true ] || return 0
  for port in $STATUS_PORT $(echo "$INBOUND_PORTS_EXCLUDE" | tr ',' ' '); do
    $t -t nat -A KAGENTI_IN -p tcp --dport "$port" -j RETURN
  done
  $t -t nat -A KAGENTI_IN -p tcp -j REDIRECT --to-ports "$INBOUND_PROXY_PORT"
  $t -t nat -C PREROUTING -p tcp -j KAGENTI_IN 2>/dev/null || $t -t nat -I PREROUTING 1 -p tcp -j KAGENTI_IN
}

usable() { "$1" -t nat -L >/dev/null 2>&1; }
choose() { for t in "$1-legacy" "$1-nft" "$1"; do if command -v "$t" >/dev/null && usable "$t"; then echo "$t"; return; fi; done; }

has_v6=false
case "$POD_IPS" in *:*) has_v6=true ;; esac
case "$POD_IPS" in *.*)
  v4=$(choose iptables); [ -n "$v4" ] || fail "no usable iptables: the node's kernel or the image lacks it"
  rules "$v4" 127.0.0.0/8 169.254.0.0/16 ;;
esac
v6=$(choose ip6tables)
if [ -n "$v6" ]; then rules "$v6" ::1/128 fe80::/10
elif [ "$has_v6" = true ]; then fail "the pod has the IPv6 address in $POD_IPS, but ip6tables does not work here"; fi
echo "kagenti proxy-init: traffic is redirected to $PROXY_PORT and $INBOUND_PROXY_PORT"
"""
"""Run by /bin/sh in the proxy-init image (reference: authbridge-contract section 2; spec 04, Interception)."""

REGISTER: Final = r"""set -u
umask 027
# Registers the workload as an OAuth client; fails visibly and retries, and says when it is verified.
say() { echo "kagenti client-registration: $1" >&2; }
rm -f /shared/registered
client_id() {
  if [ "$SPIRE_ENABLED" != true ]; then printf '%s\n' "$CLIENT_NAME"; return; fi
  python -c 'import base64, json, sys
part = open("/opt/jwt_svid.token").read().split(".")[1]
print(json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))["sub"])'
}
wait=1
while :; do
  if [ "$SPIRE_ENABLED" = true ] && [ ! -s /opt/jwt_svid.token ]; then
    say "waiting for /opt/jwt_svid.token from spiffe-helper"
  elif [ -z "${KEYCLOAK_ADMIN_USERNAME:-}" ] || [ -z "${KEYCLOAK_ADMIN_PASSWORD:-}" ]; then
    say "Secret $ADMIN_SECRET is missing in this namespace, or lacks KEYCLOAK_ADMIN_USERNAME or _PASSWORD"
    say "create it and restart the pod"
  elif id=$(client_id) && [ -n "$id" ] && printf '%s\n' "$id" > /shared/client-id.txt \
    && python client_registration.py && { [ "$CLIENT_AUTH_TYPE" != client-secret ] || [ -s "$SECRET_FILE_PATH" ]; }; then
    chmod 0640 /shared/client-id.txt "$SECRET_FILE_PATH" 2>/dev/null
    : > /shared/registered
    say "registered"
    exec tail -f /dev/null
  else
    say "registration failed; trying again in $wait s"
  fi
  sleep "$wait"
  wait=$((wait * 2)); [ "$wait" -le 30 ] || wait=30
done
"""
"""Run by /bin/sh in the client-registration image, instead of upstream's script, which hides failures (reference 1.3)."""

BRIDGE: Final = r"""set -eu
# Envoy and its processor end together: without the processor every proxied request would fail, unseen.
{ /usr/local/bin/go-processor || true; echo "kagenti envoy-proxy: the go-processor ended" >&2; kill -TERM 0; } &
exec /usr/local/bin/envoy -c /etc/envoy/envoy.yaml --service-cluster kagenti --service-node "$NODE_ID" --log-level warning
"""
"""Run by /bin/sh in the envoy-with-processor image, instead of its entrypoint, which gives every pod the node id
``auth-proxy`` and does not notice that the processor died (reference: authbridge-contract sections 1.4 and 3.3)."""
