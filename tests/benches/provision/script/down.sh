# In reverse order, each waited for.
aws() { command aws --endpoint-url "$AWS_ENDPOINT_URL" --output text "$@"; }
ids() { aws ec2 "describe-$1" --filters "Name=tag:Name,Values=$2" --query "$3"; }
group() { aws ec2 describe-security-groups --filters "Name=group-name,Values=$1" --query 'SecurityGroups[0].GroupId'; }

instance=$(aws ec2 describe-instances --filters Name=tag:Name,Values=script-bastion \
    Name=instance-state-name,Values=pending,running,stopping,stopped --query 'Reservations[0].Instances[0].InstanceId')
aws ec2 terminate-instances --instance-ids "$instance"
aws ec2 wait instance-terminated --instance-ids "$instance"
aws iam remove-role-from-instance-profile --instance-profile-name script --role-name script
aws iam delete-instance-profile --instance-profile-name script
aws iam detach-role-policy --role-name script --policy-arn arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore
aws iam delete-role --role-name script
aws rds delete-db-instance --db-instance-identifier script --skip-final-snapshot
aws rds wait db-instance-deleted --db-instance-identifier script
aws rds delete-db-subnet-group --db-subnet-group-name script
aws secretsmanager delete-secret --secret-id script/master --force-delete-without-recovery
database_group=$(group script-database)
bastion_group=$(group script-bastion)
aws ec2 delete-security-group --group-id "$database_group"
aws ec2 delete-security-group --group-id "$bastion_group"
vpc=$(ids vpcs script-vpc 'Vpcs[0].VpcId')
for table in script-public-routes script-private-routes; do
    id=$(ids route-tables "$table" 'RouteTables[0].RouteTableId')
    for association in $(aws ec2 describe-route-tables --route-table-ids "$id" \
        --query 'RouteTables[0].Associations[].RouteTableAssociationId'); do
        aws ec2 disassociate-route-table --association-id "$association"
    done
    aws ec2 delete-route-table --route-table-id "$id"
done
for subnet in script-public script-private-a script-private-b; do
    aws ec2 delete-subnet --subnet-id "$(ids subnets "$subnet" 'Subnets[0].SubnetId')"
done
gateway=$(ids internet-gateways script-gateway 'InternetGateways[0].InternetGatewayId')
aws ec2 detach-internet-gateway --internet-gateway-id "$gateway" --vpc-id "$vpc"
aws ec2 delete-internet-gateway --internet-gateway-id "$gateway"
aws ec2 delete-vpc --vpc-id "$vpc"
