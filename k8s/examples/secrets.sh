#!/bin/sh
# Prints every Secret that the manifests name, from secrets.env:  k8s/examples/secrets.sh | kubectl apply --server-side -f -
set -eu
file="${1:-$(dirname "$0")/secrets.env}"
refuse() { echo "$file: $1" >&2; exit 1; }
[ -f "$file" ] || refuse "is not there; copy secrets.env.example to it and fill it in"

keys="S3_ACCESS_KEY_ID S3_SECRET_ACCESS_KEY"
always="POSTGRES_USER POSTGRES_PASSWORD MLFLOW_USER MLFLOW_PASSWORD MLFLOW_SESSION_KEY RAY_TOKEN"
names="$keys S3_ROLE_ARN $always"
unset $names
# read, not sourced: a shell would put its own meaning into a password
while IFS= read -r line || [ "$line" ]; do
  case "$line" in
    '' | '#'*) continue ;;
    *=*) ;;
    *) refuse "a line without '=': it should look like NAME=value" ;;
  esac
  name="${line%%=*}" value="${line#*=}"
  case " $names " in *" $name "*) ;; *) refuse "'$name' is none of: $names" ;; esac
  case "$value" in
    '') refuse "$name is empty" ;;
    change-me*) refuse "$name is still '$value'; choose a value of your own" ;;
  esac
  export "$name=$value"
done < "$file"
if [ "${S3_ROLE_ARN:-}" ]; then
  [ -z "${S3_ACCESS_KEY_ID:-}${S3_SECRET_ACCESS_KEY:-}" ] || refuse "S3_ROLE_ARN stands in place of $keys; take them out"
  [ -z "${WITH_OBJECT_STORE:-}" ] || refuse "S3_ROLE_ARN is for AWS; the object store in the cluster wants $keys"
  always="S3_ROLE_ARN $always"
else
  always="$keys $always"
fi
for name in $always; do
  [ "$(printenv "$name" || true)" ] || refuse "$name is not set"
done

secret() {
  namespace="$1" name="$2"
  shift 2
  kubectl create secret generic "$name" --namespace "$namespace" --dry-run=client --output yaml "$@"
  echo ---
}

json() { printf '%s' "$1" | sed 's/[\\"]/\\&/g'; }

# the storage's keys, or how each pod comes by keys that last an hour: every pod has the token; without an address of
# its own STS would be asked at the storage's endpoint
s3() {
  if [ "${S3_ROLE_ARN:-}" ]; then
    secret "$1" "$2" --from-literal=AWS_ROLE_ARN="$S3_ROLE_ARN" \
      --from-literal=AWS_WEB_IDENTITY_TOKEN_FILE=/var/run/secrets/lhrnet/token \
      --from-literal=AWS_ENDPOINT_URL_STS=https://sts.amazonaws.com
  else
    secret "$1" "$2" --from-literal=AWS_ACCESS_KEY_ID="$S3_ACCESS_KEY_ID" \
      --from-literal=AWS_SECRET_ACCESS_KEY="$S3_SECRET_ACCESS_KEY"
  fi
}

s3 lhrnet lhrnet-s3
secret lhrnet lhrnet-mlflow --from-literal=MLFLOW_TRACKING_USERNAME="$MLFLOW_USER" \
  --from-literal=MLFLOW_TRACKING_PASSWORD="$MLFLOW_PASSWORD"
secret lhrnet lhrnet-ray --from-literal=auth_token="$RAY_TOKEN"
secret mlflow mlflow-postgres --from-literal=username="$POSTGRES_USER" --from-literal=password="$POSTGRES_PASSWORD"
s3 mlflow mlflow-s3
secret mlflow mlflow-auth --from-literal=MLFLOW_AUTH_ADMIN_USERNAME="$MLFLOW_USER" \
  --from-literal=MLFLOW_AUTH_ADMIN_PASSWORD="$MLFLOW_PASSWORD" \
  --from-literal=MLFLOW_FLASK_SERVER_SECRET_KEY="$MLFLOW_SESSION_KEY"
if [ "${WITH_OBJECT_STORE:-}" ]; then
  secret object-store object-store-s3 --from-literal=s3.json="{\"identities\": [{\"name\": \"lhrnet\", \"credentials\": \
[{\"accessKey\": \"$(json "$S3_ACCESS_KEY_ID")\", \"secretKey\": \"$(json "$S3_SECRET_ACCESS_KEY")\"}], \
\"actions\": [\"Admin\", \"Read\", \"Write\", \"List\", \"Tagging\"]}]}"
fi
