//! The CloudWatch alarms on the database.

use aws_sdk_cloudwatch::operation::describe_alarms::DescribeAlarmsOutput;
use aws_sdk_cloudwatch::operation::list_tags_for_resource::ListTagsForResourceOutput;
use aws_sdk_cloudwatch::types::{ComparisonOperator, Dimension, MetricAlarm, Statistic, Tag};
use futures_util::future::try_join_all;
use stack::alarm::{self, Rule, Want};
use stack::inventory::{Alarm, Inventory};
use stack::plan::alarm_flaw;
use stack::{Resource, Stack};

use crate::core::deletion_proof::{DeletionProof, Presence, wait_until_absent};
use crate::core::job::{Job, missing};
use crate::core::retry::{ask_each, delete};
use crate::core::tag;
use crate::error::{absent_is_none, failed};
use crate::{Cloud, Error};

const NAMESPACE: &str = "AWS/RDS";
const DIMENSION: &str = "DBInstanceIdentifier";

/// Returns the alarms that have the stack's names and watch its database.
pub(crate) async fn list(cloud: &Cloud, stack: &Stack) -> Result<Vec<Alarm>, Error> {
    let found = describe(cloud, &alarm::names(stack)).await?;
    Ok(found.iter().filter(|alarm| is_ours(stack, alarm)).map(read).collect())
}

/// Returns the names of the database alarms with the stack's tag, whichever database they watch.
pub(crate) async fn list_tagged(cloud: &Cloud, stack: &Stack) -> Result<Vec<String>, Error> {
    let pages = cloud.cloudwatch.describe_alarms().into_paginator().send();
    let pages: Result<Vec<DescribeAlarmsOutput>, _> = pages.collect().await;
    let pages = pages.map_err(failed("cloudwatch", "DescribeAlarms"))?;
    let alarms = pages.into_iter().flat_map(|page| page.metric_alarms.unwrap_or_default());
    // All alarms of a stack watch databases, and an account may have thousands of others.
    let of_databases: Vec<MetricAlarm> =
        alarms.filter(|alarm| alarm.namespace() == Some(NAMESPACE)).collect();
    let asked = ask_each(of_databases, |alarm: MetricAlarm| async move {
        let arn = alarm.alarm_arn().unwrap_or_default();
        let call = cloud.cloudwatch.list_tags_for_resource().resource_arn(arn).send();
        // It may have been deleted in between.
        let found = absent_is_none(call.await.map_err(failed("cloudwatch", "ListTagsForResource")))?;
        let is_ours = |found: ListTagsForResourceOutput| {
            tag::is_of(stack, found.tags().iter().filter_map(|tag| Some((tag.key()?, tag.value()?))))
        };
        Ok(found.is_some_and(is_ours).then(|| alarm.alarm_name().unwrap_or_default().to_owned()))
    });
    Ok(asked.await?.into_iter().flatten().collect())
}

async fn describe(cloud: &Cloud, names: &[String]) -> Result<Vec<MetricAlarm>, Error> {
    // Fewer than the hundred names of one call.
    let call = cloud.cloudwatch.describe_alarms().set_alarm_names(Some(names.to_vec())).send();
    let answer = call.await.map_err(failed("cloudwatch", "DescribeAlarms"))?;
    Ok(answer.metric_alarms.unwrap_or_default())
}

fn is_ours(stack: &Stack, alarm: &MetricAlarm) -> bool {
    let watches = |dimension: &Dimension| {
        dimension.name() == Some(DIMENSION) && dimension.value() == Some(&stack.database.identifier)
    };
    alarm.dimensions().iter().any(watches)
}

/// Writes those of the four alarms that do not exist or differ, and returns all four.
pub(crate) async fn ensure(job: &Job<'_>, inventory: &Inventory) -> Result<Vec<Alarm>, Error> {
    let topic = inventory.topic.as_ref().ok_or_else(|| missing(Resource::Topic))?;
    let wanted = alarm::wanted(job.stack);
    let wrong: Vec<&Want> = wanted.iter().filter(|want| alarm_flaw(want, inventory).is_some()).collect();
    refuse_foreign(job, inventory, &wrong).await?;
    try_join_all(wrong.iter().map(|want| put(job, want, &topic.arn))).await?;
    let state = |name: &str| inventory.alarms.iter().find(|have| have.name == name).map(|a| a.state.clone());
    let alarms = wanted.into_iter().map(|want| Alarm {
        state: state(&want.name).unwrap_or_else(|| "INSUFFICIENT_DATA".to_owned()),
        name: want.name,
        rule: want.rule,
        actions_enabled: true,
        actions: vec![topic.arn.clone()],
    });
    Ok(alarms.collect())
}

/// Refuses to write over somebody else's alarm: `PutMetricAlarm` replaces any alarm of that name.
async fn refuse_foreign(job: &Job<'_>, inventory: &Inventory, wanted: &[&Want]) -> Result<(), Error> {
    let is_new = |want: &&&Want| !inventory.alarms.iter().any(|have| have.name == want.name);
    let new: Vec<String> = wanted.iter().filter(is_new).map(|want| want.name.clone()).collect();
    if new.is_empty() {
        return Ok(());
    }
    let found = describe(job.cloud, &new).await?;
    match found.iter().find(|alarm| !is_ours(job.stack, alarm)).and_then(|alarm| alarm.alarm_name()) {
        Some(name) => Err(Error::Foreign { what: "alarm", name: name.to_owned() }),
        None => Ok(()),
    }
}

async fn put(job: &Job<'_>, want: &Want, topic: &str) -> Result<(), Error> {
    let Rule { metric, statistic, comparison, threshold, period_seconds, periods } = &want.rule;
    let database = Dimension::builder().name(DIMENSION).value(&job.stack.database.identifier).build();
    let number = |value: u32| i32::try_from(value).unwrap_or(i32::MAX);
    let tags = tag::pairs(job.stack, Resource::Alarms);
    let tags = tags.map(|(key, value)| Tag::builder().key(key).value(value).build()).to_vec();
    job.cloud
        .cloudwatch
        .put_metric_alarm()
        .alarm_name(&want.name)
        .alarm_description(&want.description)
        .namespace(NAMESPACE)
        .metric_name(metric)
        .dimensions(database)
        .statistic(Statistic::from(statistic.as_str()))
        .comparison_operator(ComparisonOperator::from(comparison.as_str()))
        .threshold(*threshold)
        .period(number(*period_seconds))
        .evaluation_periods(number(*periods))
        // A stopped database sends no data, and that is not a reason for an alarm.
        .treat_missing_data("missing")
        .actions_enabled(true)
        .alarm_actions(topic)
        .set_tags(Some(tags))
        .send()
        .await
        .map_err(failed("cloudwatch", "PutMetricAlarm"))
        .map(|_| ())
}

/// Deletes an alarm, and waits until it no longer exists.
pub(crate) async fn destroy(job: &Job<'_>, name: &str) -> Result<DeletionProof, Error> {
    let call = || async {
        let call = job.cloud.cloudwatch.delete_alarms().alarm_names(name).send();
        call.await.map_err(failed("cloudwatch", "DeleteAlarms"))
    };
    delete(job, call).await?;
    wait_until_absent(job, "cloudwatch", "DescribeAlarms", || async {
        Ok(Presence::of_list(&describe(job.cloud, &[name.to_owned()]).await?))
    })
    .await
}

fn read(alarm: &MetricAlarm) -> Alarm {
    let number = |value: Option<i32>| value.and_then(|value| u32::try_from(value).ok()).unwrap_or(0);
    let text = |value: Option<&str>| value.unwrap_or_default().to_owned();
    Alarm {
        name: text(alarm.alarm_name()),
        rule: Rule {
            metric: text(alarm.metric_name()),
            statistic: text(alarm.statistic().map(Statistic::as_str)),
            comparison: text(alarm.comparison_operator().map(ComparisonOperator::as_str)),
            threshold: alarm.threshold().unwrap_or(0.0),
            period_seconds: number(alarm.period()),
            periods: number(alarm.evaluation_periods()),
        },
        actions_enabled: alarm.actions_enabled().unwrap_or(true),
        actions: alarm.alarm_actions().to_vec(),
        state: text(alarm.state_value().map(|state| state.as_str())),
    }
}
